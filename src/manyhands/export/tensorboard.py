"""For TensorBoard: a file of events in each run folder; ``tensorboard --logdir runs`` shows them by their names.

The step is the number of samples, and the wall time the cluster's clock: the axis RELATIVE shows its hours. Written
with the package ``tensorboard`` alone, which needs neither TensorFlow nor torch.
"""

import io
import shlex
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, summary_v2
from tensorboard.summary.writer.record_writer import RecordWriter

from manyhands.export.content import Content
from manyhands.runs.folder import RunFolder
from manyhands.runs.reading import RunView

FILE = "events.out.tfevents.manyhands"
"""TensorBoard reads whatever has ``tfevents`` in its name"""
METRICS = ("test_accuracy", "test_loss", "seconds", "bytes")
"""beside the parameters in the tab HPARAMS"""


def export(runs: Sequence[RunView], beside: Path) -> str:
    """See `manyhands.export.export_runs`."""
    for run in runs:
        RunFolder(run.folder).write_bytes(FILE, encode(Content.of(run), run))
    return shlex.join(["tensorboard", "--logdir", str(beside)])


def encode(content: Content, run: RunView) -> bytes:
    """All events of a run."""
    status = {"finished": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
    ended = summary_v2.plugin_data_pb2.SessionEndInfo(
        status=status.get(run.status, api_pb2.STATUS_UNKNOWN), end_time_secs=content.ended
    )
    end = summary_v2.plugin_data_pb2.HParamsPluginData(session_end_info=ended)
    parameters = [summary_v2.HParam(name) for name in content.parameters]
    metrics = [summary_v2.Metric(name) for name in METRICS]
    events = [
        Event(file_version="brain.Event:2", source_metadata=SourceMetadata(writer="manyhands")),
        Event(summary=summary_v2.hparams_config_pb(parameters, metrics, content.started)),
        Event(summary=summary_v2.hparams_pb(content.parameters, run.name, content.started)),
    ]
    for point in content.points:
        events.append(Event(step=point.samples, wall_time=point.time, summary=_summary(point.numbers)))
    last = {f"class_accuracy/{name}": value for name, value in content.class_accuracy.items()}
    if content.points and last:
        events.append(Event(step=content.points[-1].samples, wall_time=content.ended, summary=_summary(last)))
    events.append(Event(wall_time=content.ended, summary=summary_v2._summary_pb(_END, end)))
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in events:
        event.wall_time = event.wall_time or content.started
        writer.write(event.SerializeToString())
    return file.getvalue()


_END = summary_v2.metadata.SESSION_END_INFO_TAG


def _summary(numbers: dict[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()])

"""What a person sees while runs go on."""

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from manyhands.cli.progress import Bars, Lines, Watcher
from manyhands.runs.recorder import Row
from manyhands.runs.specification import Specification


@pytest.mark.parametrize(
    ("figures", "said"),
    [({}, ""), ({"figures": {"late": 3}}, ""), ({"figures": {"skipped": 2.0}}, ", 2\u00a0rounds skipped")],
)
def test_skipped_rounds_are_told(figures: Row, said: str) -> None:
    row = {"test_accuracy": 0.5, "seconds": 1.0, "completed": 3, **figures}
    written = StringIO()
    lines = Lines(Console(file=written, width=200), runs=4)
    progress = Progress(TextColumn("{task.fields[state]}"), console=Console(file=StringIO()))
    shown: list[tuple[Watcher, str, str]] = [(lines, "1/4 fedavg: test accuracy 50.00\u00a0%", " (0 s)\n")]
    shown.append((Bars(progress), "50.0\u00a0% at 1.00\u00a0s", ""))
    for watcher, before, after in shown:
        with watcher.run("fedavg", Specification(workers=2)) as observe:
            assert observe is not None
            observe(row)
        assert (written.getvalue() if watcher is lines else progress.tasks[0].fields["state"]) == before + said + after

"""The top of the house: train one specification, from data to results, in a run folder."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from manyhands.clusters.appraisal import AT_ONCE
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.clusters.experiment import Experiment, choose_precision
from manyhands.clusters.simulated.executor import choose_executor
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.errors import RunError, UserError
from manyhands.runs.environment import hardware, revision, versions
from manyhands.runs.folder import FORMAT, ORDER, RunFolder, new_run_path
from manyhands.runs.recorder import Checkpoint, Observer, Recorder
from manyhands.runs.specification import Specification, read_specification
from manyhands.tasks.partition import class_counts
from manyhands.tasks.partition.portraits import portraits
from manyhands.tasks.registry import load_task
from manyhands.tasks.task import Task
from manyhands.training.evaluation import Evaluation
from manyhands.training.precision import Precision

if TYPE_CHECKING:
    from manyhands.clusters.processes.fleet import Fleet
    from manyhands.clusters.simulated.rehearsal import Outline, Rehearsal

AnyExperiment = TypeVar("AnyExperiment", bound=Experiment)


def train(
    specification: Specification,
    *,
    task: Task | None = None,
    out: Path | str | None = None,
    data_dir: Path | None = None,
    observer: Observer | None = None,
    fleet: "Fleet | None" = None,
) -> Path:
    """Train as specified and return the run's new folder.

    ``task`` replaces the one that the specification names. ``out`` must be new or empty; the default is a new folder
    under ``runs/``. A ``fleet`` lends its processes to a specification of processes, instead of new ones. Raises
    UserError for what cannot be done, before anything is written, and RunError for a run that had to stop on its way;
    its folder then says so and can be resumed from its last checkpoint.
    """
    experiment = prepare(specification, task, data_dir)
    return _run(experiment, Path(out) if out else None, observer, resume=False, fleet=fleet)


def resume(
    folder: Path | str, *, task: Task | None = None, data_dir: Path | None = None, observer: Observer | None = None
) -> Path:
    """Go on with a stopped run from its last checkpoint; the result is that of a run without a stop, bit for bit."""
    run = RunFolder(Path(folder))
    saved = run.read_run()
    if saved.get("status") == "finished":
        raise UserError(f"{folder} is finished: there is nothing to resume")
    experiment = prepare(read_specification(run), task, data_dir)
    learner = experiment.make_learner()
    Checkpoint.load(run).check(experiment.specification.nodes, learner.parameters + learner.buffers)
    return _run(experiment, run.path, observer, resume=True)


def replay(
    folder: Path | str,
    *,
    task: Task | None = None,
    out: Path | str | None = None,
    data_dir: Path | None = None,
    observer: Observer | None = None,
) -> Path:
    """Repeat an asynchronous run of processes in simulation, with every message in the order in which it came.

    Returns a new run's folder. It ends with the same weights, to rounding, so that what a race of messages did can be
    looked into as often as one likes; its time is the simulation's. A run that broke off is repeated to its last row,
    then says so. Raises UserError for a run that kept no order, or is of another task.
    """
    original = RunFolder(Path(folder))
    saved, specification = original.read_run(), read_specification(original)
    rows = original.read_rows(ORDER)
    if not rows:
        raise UserError(
            f"{folder} has no {ORDER}: only asynchronous strategies on processes depend on the order of messages"
        )
    experiment = prepare(replace(specification, cluster=Simulated()), task, data_dir)
    learner = experiment.make_learner()
    if saved.get("model") != {"parameters": learner.parameters, "buffers": learner.buffers}:
        raise UserError(f"{folder} is a run of another model than {experiment.task.name}: its messages do not fit")
    experiment.precision = _saved_precision(original)
    order: dict[int, list[int]] = {rank: [] for rank in range(specification.nodes)}
    for row in rows:
        for rank, outcomes in row["nodes"].items():
            order[int(rank)] += outcomes
    path = _run(experiment, Path(out) if out else None, observer, resume=False, order=order)
    command = shlex.join(["manyhands", "train", "--replay", str(folder)])
    RunFolder(path).update_run(replay_of=str(folder), command=command)
    return path


def rehearse(specification: Specification, *, task: Task | None = None, data_dir: Path | None = None) -> "Rehearsal":
    """How long a simulated run takes on its own clock, and what each node spends: the same simulation, nothing learnt.

    The strategy's own code runs, on tensors without values. Nothing is written. Raises UserError for what cannot be
    done, and RunError for strategies that look at values.
    """
    from manyhands.clusters.simulated.rehearsal import rehearse

    if not isinstance(specification.cluster, Simulated):
        raise UserError(f"only simulated runs can be rehearsed, not {specification.cluster.name}")
    return rehearse(outline(specification, task, data_dir))


def evaluate(
    folder: Path | str,
    *,
    task: Task | None = None,
    data_dir: Path | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """The final model of a run on the test set, computed again; ``progress`` is told the share that is done, 0 to 1.

    Raises UserError if the model is missing or does not fit.
    """
    run = RunFolder(Path(folder))
    experiment = prepare(read_specification(run), task, data_dir)
    experiment.precision = _saved_precision(run)
    learner = experiment.make_learner()
    try:
        weights = learner.flatten(run.read_model())
    except (RuntimeError, KeyError):
        name = experiment.task.name
        raise UserError(f"{run.path / 'model.safetensors'} is not a model of {name}: it has other tensors") from None
    parts, evaluations = experiment.placed_task.test.parts(AT_ONCE), []
    for number, part in enumerate(parts):
        progress(number / len(parts))
        evaluations.append(learner.evaluate(weights, part))
    return Evaluation.merge(evaluations)


def _saved_precision(run: RunFolder) -> Precision:
    try:
        return Precision.from_json(run.read_run()["precision"])
    except (KeyError, TypeError):
        raise UserError(f"{run.path / 'run.json'} is damaged: it must tell the precision that was chosen") from None


def prepare(specification: Specification, task: Task | None = None, data_dir: Path | None = None) -> Experiment:
    """Load the data and share them out: what is wrong with a specification is found before anything is written."""
    return _prepare(Experiment, specification, task, data_dir)


def outline(specification: Specification, task: Task | None = None, data_dir: Path | None = None) -> "Outline":
    """As `prepare`, for a rehearsal, which need not know who holds which samples."""
    from manyhands.clusters.simulated.rehearsal import Outline

    return _prepare(Outline, specification, task, data_dir)


def _prepare(
    kind: type[AnyExperiment], specification: Specification, task: Task | None, data_dir: Path | None
) -> AnyExperiment:
    task = task or load_task(specification.task, data_dir, augment=specification.augment)
    specification = replace(specification, task=task.name).resolved()
    if samples := specification.samples:
        if samples > len(task.train):
            raise UserError(f"--samples {samples} is more than the {len(task.train)} training samples of {task.name}")
        task = task.first(samples)
    full = Precision(name="fp32", why="not yet chosen")
    experiment = kind(specification, task, full, _device(specification))
    experiment.parts  # noqa: B018 - computed once, checked now
    experiment.check()
    specification.cluster.check(specification.nodes)
    if isinstance(specification.cluster, Simulated):
        DeviceProfile.load(specification.cluster.profile)
        specification.cluster.computing_factors(specification.size, specification.seed)
        specification.cluster.link_factors(specification.size, specification.seed)
        choose_executor(experiment)
    return experiment


def _device(specification: Specification) -> torch.device:
    name = specification.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and isinstance(specification.cluster, Processes) else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise UserError(f"unknown --device '{name}': take cpu, cuda, mps or auto")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name} cannot be used here ({reason}): take cpu, or auto") from None
    return device


def _run(
    experiment: Experiment,
    path: Path | None,
    observer: Observer | None,
    resume: bool,
    order: Mapping[int, Sequence[int]] | None = None,
    fleet: "Fleet | None" = None,
) -> Path:
    specification = experiment.specification
    if isinstance(specification.cluster, Processes):
        from manyhands.clusters.processes import launch

        if place := launch.Place.of_torchrun():
            launch.check_world(specification, place.world)
            lead = place.rank == experiment.conductors[0]
            folder = _open(experiment, path, resume) if lead else None
            with _outcome(folder, resume):
                launch.join(experiment, place, folder, resume, observer)
            return folder.path if folder else Path()
        launch.check_found(specification)
        folder = _open(experiment, path, resume)
        with _outcome(folder, resume):
            if fleet:
                fleet.run(experiment, folder, observer, resume=resume)
            else:
                launch.launch(experiment, folder, resume, observer)
        return folder.path

    from manyhands.clusters.simulated.simulation import Simulation

    if order is None:
        experiment.precision = choose_precision(experiment)
    folder = _open(experiment, path, resume)
    with _outcome(folder, resume):
        recorder = Recorder(folder, specification, len(experiment.task.train), "simulated", observer)
        checkpoint = Checkpoint.load(folder) if resume else None
        if checkpoint:
            recorder.go_on_from(checkpoint)
        Simulation(experiment, recorder, order).run(checkpoint)
    return folder.path


def _open(experiment: Experiment, path: Path | None, resume: bool) -> RunFolder:
    """The run's folder, with everything that is known before the first step."""
    specification = experiment.specification
    if resume:
        assert path is not None
        folder = RunFolder(path)
        folder.update_run(status="running", error=None)
        return folder
    path = path or new_run_path(Path("runs"), specification.strategy.name)
    files = {"run.json": _description(experiment, path), "partition.json": _partition(experiment)}
    return RunFolder.create(path, files)


def _partition(experiment: Experiment) -> dict[str, Any]:
    """Who holds which samples."""
    partition, task = experiment.specification.partition, experiment.task
    targets = task.train.targets.cpu().numpy()
    content: dict[str, Any] = {
        "partition": str(partition),
        "about": partition.about,
        "classes": list(task.classes),
        "counts": class_counts(experiment.parts, targets, len(task.classes)),
    }
    if experiment.specification.strategy.unit == "round":
        content["test_samples"] = [len(part) for part in experiment.test_parts]
    if partition.skews:
        content["portraits"] = portraits(experiment.placed_task.train.inputs, targets, experiment.parts)
    return content


def _description(experiment: Experiment, path: Path) -> dict[str, Any]:
    specification = experiment.specification
    named = not specification.task.startswith("custom/")
    learner = experiment.make_learner()
    samples = [len(part) for part in experiment.parts]
    workers = [{"rank": rank, "role": "worker", "samples": samples[rank]} for rank in experiment.workers]
    servers = [{"rank": rank, "role": "server", "samples": 0} for rank in experiment.servers]
    return {
        "format": FORMAT,
        "name": path.name,
        "status": "running",
        "error": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["manyhands", "train", "--from", str(path / "run.json")]) if named else None,
        "specification": specification.to_json(),
        "versions": versions(),
        "hardware": hardware(),
        "revision": revision(),
        "precision": experiment.precision.to_json(),
        "executor": choose_executor(experiment).to_json() if isinstance(specification.cluster, Simulated) else None,
        "model": {"parameters": learner.parameters, "buffers": learner.buffers},
        "nodes": workers + servers,
        "method": specification.strategy.method(),
        "facts": specification.strategy.facts(specification.size, specification.total),
    }


@contextmanager
def _outcome(folder: RunFolder | None, resume: bool) -> Iterator[None]:
    """Write down how the run ended, whichever way it does; what could not even begin leaves no folder behind."""

    def note(status: str, error: str | None) -> None:
        if folder:
            folder.update_run(status=status, error=error)

    try:
        yield
    except KeyboardInterrupt:
        note("stopped", "interrupted")
        raise KeyboardInterrupt(str(folder.path) if folder else "") from None
    except Exception as error:  # a defect too: nobody shall think that the run goes on
        if folder and not resume and isinstance(error, UserError) and not folder.read_history():
            folder.discard()
        else:
            with suppress(UserError, RunError):  # the disk that made the run fail may refuse this too
                note("failed", str(error) or type(error).__name__)
        raise
    note("finished", None)

"""From measurements on one and two nodes to the profile by which the simulated cluster predicts all others."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from manyhands import lab
from manyhands.clusters.cluster import Processes, Simulated
from manyhands.clusters.experiment import Experiment, choose_precision
from manyhands.clusters.processes.fleet import Fleet
from manyhands.clusters.simulated.profile import DeviceProfile
from manyhands.clusters.simulated.rehearsal import rehearse
from manyhands.errors import UserError
from manyhands.measure import probes
from manyhands.measure.fitting import Json, Link, Nodes, fit_backend, fit_device, fit_limits, fit_speeds, half_width
from manyhands.runs.environment import hardware
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce, Gossip, Strategy
from manyhands.strategies.topology import Ring
from manyhands.tasks.registry import load_task, plain_name
from manyhands.tasks.task import Task

ROUNDS, BLOCKS, REPEATS = 4, 2, 20
TRAINED, TRAINING_STEPS = 40, 8
"""steps of a real training, and of an epoch of it"""
PLAIN, WRAPPED = Gossip(topology=Ring()), AllReduce()
MESSAGES = (256, 65_536, 1_048_576, 4_194_304)
"""bytes"""
MIN_CPUS = 0.2
"""of a core, of which half is tried as well"""

Progress = Callable[[object], None]


def calibrate(
    task: str,
    cluster: Processes,
    *,
    batch_sizes: Sequence[int] = (16, 32, 64, 128),
    data_dir: Path | None = None,
    progress: Progress = lambda what: None,
) -> DeviceProfile:
    """Measure this machine, or hosts emulated on it, and their link; needs two processes, and no more.

    Steps are timed on a whole core, and where hosts have a share of one, on that as well.
    Raises UserError where the batch sizes are fewer than two, or hosts have less than a fifth of a core.
    """
    if len(set(batch_sizes)) < 2 or min(batch_sizes) < 1:
        given = " ".join(map(str, batch_sizes))
        raise UserError(f"--batch-size needs two sizes or more, of at least 1, to tell a from b, not {given}")
    if cluster.hosts and cluster.cpus < MIN_CPUS:
        raise UserError(f"--cpus must be at least {MIN_CPUS:g}, as half of it is tried too, not {cluster.cpus:g}")
    specification = Specification(
        task=task, strategy=AllReduce(), cluster=cluster, workers=2, batch_size=max(batch_sizes)
    )
    experiment = lab.prepare(specification, quick_task(task, data_dir))
    experiment.precision = choose_precision(experiment)
    with Fleet(2, cluster) as fleet:
        rounds = []
        for stage in stages()[:ROUNDS]:
            progress(stage)
            rounds.append(_round(experiment, batch_sizes, fleet))
        progress("messages")
        messages = fleet.call(probes.time_messages, MESSAGES, REPEATS)
        progress("all-reduce")
        reduces = fleet.call(probes.time_all_reduce, MESSAGES, REPEATS)
        progress("overlap")
        overlaps = fleet.call(probes.time_overlap, experiment, max(batch_sizes), 2**20, ROUNDS, probes.BLOCK)
        link = Link(fleet.hosts.rate, *fleet.hosts.measure(), fleet.cpus(cluster)) if fleet.hosts else None
        steps = [_joined(node) for node in zip(*(each.steps for each in rounds), strict=True)]
        profile = _profile(experiment, cluster, link, steps, messages, reduces, overlaps)
        return _in_place(profile, experiment, rounds, middle(batch_sizes), fleet)


def stages() -> list[str]:
    """What is measured, one after another."""
    rounds = [f"steps, round {number + 1} of {ROUNDS}" for number in range(ROUNDS)]
    return [*rounds, "messages", "all-reduce", "overlap"]


def _profile(
    experiment: Experiment,
    cluster: Processes,
    link: Link | None,
    steps: Nodes,
    messages: Nodes,
    reduces: Nodes,
    overlaps: list[Json],
) -> DeviceProfile:
    """Everything but the wrapper, from what both nodes saw."""
    share = link.cpus if link else 1.0
    device, computing, compute_spread = fit_device(experiment.make_learner(), steps)
    talking, backend, network = fit_backend(link, messages, reduces)
    ratios, slowed = (
        [behind / alone for node in overlaps for alone, behind in zip(node[a], node[b], strict=True)]
        for a, b in (("alone", "behind"), ("reduce_alone", "reduce_behind"))
    )
    backend = replace(backend, collective_slowdown=max(1.0, median(slowed)))
    overlap = {"slowdown": median(ratios), "collective": median(slowed), "n": len(ratios)}
    return DeviceProfile(
        name=plain_name(experiment.task.name),
        **device,
        overlap_slowdown=max(1.0, median(ratios)),
        backend=backend,
        compute_spread=compute_spread,
        link_spread=max(half_width(message["one_way"]) for message in messages[0]),
        task=experiment.task.name,
        hardware=hardware(),
        network=network,
        measured={"steps": computing, **talking, "overlap": overlap},
        description=_description(experiment.task.name, cluster, share),
        source=f"manyhands calibrate, {datetime.now(UTC).date().isoformat()}",
    )


def _description(task: str, cluster: Processes, share: float) -> str:
    where = f"two emulated hosts, {cluster.network}, {share:.2g} of a core each" if cluster.hosts else "two processes"
    return f"{task} on {where}"


class _Round(NamedTuple):
    """Steps by themselves, and right after that in a real training: a machine that changes does so for all."""

    steps: Nodes
    """of each node, with a whole core"""
    limited: Nodes
    """with its share of one, of one batch size"""
    halved: Nodes
    """and with half of that share"""
    plain: float
    """seconds of computing of a node in a step of a training that exchanges weights"""
    wrapped: float
    """and of one that averages gradients while it computes them"""


def _round(experiment: Experiment, batch_sizes: Sequence[int], fleet: Fleet) -> _Round:
    batch = middle(batch_sizes)
    whole = replace(fleet.options, cpus=1.0) if fleet.hosts else None
    steps = fleet.call(probes.time_steps, experiment, tuple(batch_sizes), BLOCKS, probes.BLOCK, options=whole)
    limited, halved = (
        fleet.call(probes.time_steps, experiment, (batch,), BLOCKS, probes.BLOCK, options=_with_share(fleet, part))
        for part in (1, 2)
    )
    plain, wrapped = (_trained(strategy, experiment, batch, fleet) for strategy in (PLAIN, WRAPPED))
    return _Round(steps, limited, halved, plain, wrapped)


def _with_share(fleet: Fleet, part: int) -> Processes:
    """The fleet's options, and on hosts with a part of each host's share of a core."""
    return replace(fleet.options, cpus=fleet.cpus(fleet.options) / part) if fleet.hosts else fleet.options


def _joined(rounds: Sequence[list[Json]]) -> list[Json]:
    """What one node saw in all rounds, by batch size."""
    return [
        {"batch": results[0]["batch"]} | {part: [x for one in results for x in one[part]] for part in probes.PARTS}
        for results in zip(*rounds, strict=True)
    ]


def _in_place(
    profile: DeviceProfile, experiment: Experiment, rounds: Sequence[_Round], batch: int, fleet: Fleet
) -> DeviceProfile:
    """With what is lost each time that a quota lets a node go on, how uneven the cores are, and what the wrapper that
    overlaps adds to a gradient in a real training. How long that training computes is kept beside what is predicted of
    it."""
    if fleet.hosts and fleet.cpus(fleet.options) < 1:
        whole, limited, halved = (_mean_step(nodes, batch) for nodes in zip(*(one[:3] for one in rounds), strict=True))
        slowdown, warm_up = fit_limits(whole, limited, halved, fleet.cpus(fleet.options))
        profile = replace(profile, quota_slowdown=slowdown, warm_up_seconds=warm_up)
    seen = [nodes for one in rounds for nodes in (one.steps, one.limited, one.halved)]
    profile = replace(profile, speed_spread=fit_speeds(seen))
    real, wrapped = fmean([one.plain for one in rounds]), fmean([one.wrapped for one in rounds])
    plain = _rehearsed(PLAIN, profile, experiment, batch, fleet)
    unwrapped = _rehearsed(WRAPPED, profile, experiment, batch, fleet)
    share = fleet.cpus(fleet.options) if fleet.hosts else 1.0
    wrapper = max(0.0, (wrapped - unwrapped - (real - plain)) * share)
    training = {"batch": batch, "n": len(rounds) * TRAINED, "compute": real, "predicted": plain}
    training |= {"wrapped": wrapped, "predicted_without_wrapper": unwrapped}
    backend = replace(profile.backend, wrapper_seconds=wrapper)
    return replace(profile, backend=backend, measured=dict(profile.measured) | {"training": training})


def _mean_step(rounds: Sequence[Nodes], batch: int) -> float:
    """Seconds of a step of one batch size, over all rounds and nodes."""
    points = [point for nodes in rounds for node in nodes for point in node if point["batch"] == batch]
    return fmean([seconds for point in points for seconds in point["step"]])


def _training(strategy: Strategy, experiment: Experiment, batch: int) -> Specification:
    return replace(
        experiment.specification,
        strategy=strategy,
        batch_size=batch,
        epochs=TRAINED // TRAINING_STEPS,
        samples=2 * batch * TRAINING_STEPS,
        evaluate_every=TRAINED // TRAINING_STEPS,
    )


def _trained(strategy: Strategy, experiment: Experiment, batch: int, fleet: Fleet) -> float:
    """Seconds of computing of a node in a step of a real training of two nodes."""
    with TemporaryDirectory(prefix="manyhands-") as folder:
        specification = _training(strategy, experiment, batch)
        run = RunFolder(lab.train(specification, task=experiment.task, out=Path(folder) / "run", fleet=fleet))
        return fmean([node["seconds"]["compute"] for node in run.read_json("ledger.json")["nodes"]]) / TRAINED


def _rehearsed(strategy: Strategy, profile: DeviceProfile, experiment: Experiment, batch: int, fleet: Fleet) -> float:
    """The same in simulation."""
    cluster = as_simulated(Path("nominal"), profile, fleet.options)
    specification = replace(_training(strategy, experiment, batch), cluster=cluster)
    rehearsals = [
        rehearse(lab.outline(replace(specification, seed=seed), experiment.task), profile) for seed in range(4)
    ]
    return fmean([one.compute for each in rehearsals for one in each.ledgers.values()]) / TRAINED / 1e9


def middle(batch_sizes: Sequence[int]) -> int:
    """Of the batch sizes the one with which real trainings are timed."""
    return sorted(batch_sizes)[len(batch_sizes) // 2]


def write_profile(profile: DeviceProfile, path: Path) -> None:
    """Raises UserError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(profile.to_json(), indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name another file with --out") from None


def quick_task(name: str, data_dir: Path | None = None, samples: int = 8192) -> Task:
    """The task with no more samples than are needed to time its steps: what is learnt does not matter."""
    task = load_task(name, data_dir)
    return replace(task.first(samples), test=task.test.first(64))


def as_simulated(
    profile: Path, content: DeviceProfile, options: Processes, network: str = "", slow: Sequence[str] = ()
) -> Simulated:
    """The simulated cluster that is like the hosts on which a profile was measured, with another network or stragglers.

    ``profile`` is the file of the ``content``.
    """
    return Simulated(
        profile=str(profile),
        bandwidth=network or content.network["bandwidth"],
        latency=content.network["latency"],
        jitter=content.jitter_spread,
        cpus=options.cpus if options.hosts else 0.0,
        slow=tuple(slow),
    )

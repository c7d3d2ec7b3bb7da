"""The event loop of the simulated cluster, with learning left out: simulated steps of workers per second, on one core.

A LeNet-5's weights and gradients travel, 32 samples make a batch. Each repetition is a process of its own; timed is all
of `lab.rehearse`, from the specification to the ledgers, without Python's own start and the imports. Prints a JSON line
for each case, with the limits that it is held to.

usage: python benchmarks/event_loop.py [REPEATS] [CASE …]       default: 5 repetitions of all cases
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch

from manyhands import lab
from manyhands.clusters.cluster import Simulated
from manyhands.runs.environment import hardware, versions
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.models import build
from manyhands.tasks.task import Task

BATCH, EPOCH = 32, 10
"""samples in a batch, steps in an epoch"""


@dataclass(frozen=True, kw_only=True)
class Case:
    strategy: str
    workers: int
    steps: int
    jitter: float = 0.0
    seconds: float | None = None
    """that it may take, on one core"""
    mebibytes: float = 1024
    """of memory that it may need at most"""


CASES = {
    "ring-all-reduce": Case(strategy="all-reduce:collective=ring", workers=1024, steps=100, seconds=10),
    "all-reduce": Case(strategy="all-reduce", workers=1024, steps=100, seconds=10),
    "gossip": Case(strategy="gossip:topology=ring", workers=64, steps=1000, seconds=10),
    "gossip-jitter": Case(strategy="gossip:topology=ring", workers=64, steps=1000, jitter=0.1),
    "ad-psgd": Case(strategy="ad-psgd", workers=64, steps=1000, jitter=0.1),
    "parameter-server": Case(strategy="parameter-server", workers=64, steps=1000, jitter=0.1),
    "parameter-server-async": Case(strategy="parameter-server:consistency=async", workers=64, steps=1000, jitter=0.1),
    "fedavg": Case(strategy="fedavg", workers=2000, steps=100, jitter=0.1),
}


def rehearse(case: Case) -> dict[str, float]:
    """One repetition, in this process."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    samples = case.workers * BATCH * EPOCH
    inputs = torch.zeros(1, 1, 1, 1).expand(samples, 1, 28, 28)  # one number in memory, as nobody looks at it
    targets = torch.arange(samples) % 10
    task = Task(model=lambda: build("lenet5", (1, 28, 28), 10), train=(inputs, targets), test=(inputs, targets))
    specification = Specification(
        strategy=parse_strategy(case.strategy),
        cluster=Simulated(jitter=case.jitter),
        workers=case.workers,
        epochs=case.steps // EPOCH,
        batch_size=BATCH,
        evaluate_every=case.steps // EPOCH,
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    rehearsal = lab.rehearse(specification, task=task)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
        "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "simulated_seconds": rehearsal.seconds,
        "messages": sum(ledger.messages_sent for ledger in rehearsal.ledgers.values()),
    }


def summary(name: str, case: Case, results: Sequence[dict[str, float]]) -> dict[str, object]:
    times = [result["seconds"] for result in results]
    steps, memory = case.workers * case.steps, max(result["mebibytes"] for result in results)
    fits = memory < case.mebibytes and (case.seconds is None or median(times) <= case.seconds)
    assert len({result["simulated_seconds"] for result in results}) == 1, "the same run on the same clock"
    return {
        "benchmark": f"event loop: {name}",
        **asdict(case),
        "n": len(results),
        "worker_steps_per_second": round(steps / median(times)),
        "median_seconds": round(median(times), 3),
        "min_seconds": round(min(times), 3),
        "max_seconds": round(max(times), 3),
        "median_cpu_seconds": round(median(result["cpu_seconds"] for result in results), 3),
        "peak_mebibytes": round(memory),
        "simulated_seconds": results[0]["simulated_seconds"],
        "messages": results[0]["messages"],
        "within_limits": fits,
    }


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["once"]:
        print(json.dumps(rehearse(CASES[arguments[1]])))
        return 0
    repeats = int(arguments[0]) if arguments else 5
    print(json.dumps({"versions": versions(), "hardware": hardware()}))
    fits = True
    for name in arguments[1:] or CASES:
        results = []
        for _ in range(repeats):
            command = [sys.executable, __file__, "once", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout))
        found = summary(name, CASES[name], results)
        fits = fits and bool(found["within_limits"])
        print(json.dumps(found), flush=True)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

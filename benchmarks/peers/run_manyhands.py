"""The simulated cluster of manyhands, as it comes.  usage: python run_manyhands.py WORK ROUNDS"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from manyhands import Specification, Task, train
from manyhands.strategies import FedAvg
from manyhands.tasks.models import build
from manyhands.tasks.partition import Groups
from work import CLASSES, WORKS, load_data, tell


def main(name: str, rounds: int) -> None:
    work = WORKS[name]
    inputs, targets = (part.flatten(0, 1) for part in load_data())
    samples = (inputs, targets)
    task = Task(
        model=partial(build, name, work.shape, CLASSES),
        train=samples,
        test=(inputs[:10], targets[:10]),  # evaluated before and after, which the clock leaves out
        groups=np.arange(work.clients).repeat(work.samples),  # all contenders have these clients
        name=f"random/{name}",
    )
    run(task, name, 1)
    first = time.time()
    tell(first, run(task, name, rounds), rounds)


def run(task: Task, name: str, rounds: int) -> float:
    """Seconds from the row of the untrained model to the last."""
    work, times = WORKS[name], []
    specification = Specification(
        strategy=FedAvg(fraction=work.cohort / work.clients),
        workers=work.clients,
        rounds=rounds,
        batch_size=work.batch,
        lr=work.lr,
        evaluate_every=rounds,
        partition=Groups(),
    )
    with tempfile.TemporaryDirectory() as folder:
        train(specification, task=task, out=Path(folder) / "run", observer=lambda _: times.append(time.perf_counter()))
    return times[-1] - times[0]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

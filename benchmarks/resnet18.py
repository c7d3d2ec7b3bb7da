"""``single`` on ResNet-18 with precision ``auto`` against the default fp32 loop: images per second, batch 128.

usage: python benchmarks/resnet18.py [REPEATS]
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import Single
from manyhands.tasks.models import build
from manyhands.tasks.task import Task
from manyhands.training.optimizer import SGD
from side_by_side import compare

BATCH, STEPS, LR = 128, 4, 0.01


def resnet18() -> torch.nn.Module:
    return build("resnet18", (3, 32, 32), 10)


def data(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 3, 32, 32, generator=generator), torch.randint(0, 10, (samples,), generator=generator)


def manyhands_rate() -> float:
    """Images per second of the second epoch, in a process of its own with all cores."""
    inputs, targets = data(BATCH * STEPS)
    task = Task(model=resnet18, train=(inputs, targets), test=(inputs[:10], targets[:10]), name="random/resnet18")
    specification = Specification(
        strategy=Single(),
        cluster=Processes(),
        epochs=2,
        batch_size=BATCH,
        lr=LR,
        optimizer=SGD(momentum=0.9),
        precision="auto",
    )
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(lab.train(specification, task=task, out=Path(folder) / "run"))
        rows = run.read_history()
        print("  ", run.read_run()["precision"]["why"])
    return BATCH * STEPS / (rows[2]["seconds"] - rows[1]["seconds"])


def plain_rate() -> float:
    inputs, targets = data(BATCH)
    model = resnet18()
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return BATCH * STEPS / (time.perf_counter() - start)


if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    compare("resnet18", manyhands_rate, plain_rate, repeats, "images/s")

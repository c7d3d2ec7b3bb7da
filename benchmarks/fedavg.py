"""FedAvg with LeNet-5: 100 workers of 600 images, 10 a round, batch 32, one local epoch, against a one-thread loop.

usage: python benchmarks/fedavg.py [REPEATS] [ROUNDS]       seconds a round, by turns
       python benchmarks/fedavg.py start                    seconds from here to the end of the first round
"""

import copy
import sys
import tempfile
import time
from pathlib import Path

START = time.perf_counter()

import torch
import torch.nn.functional as F

from manyhands import lab
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg
from manyhands.tasks.models import build
from manyhands.tasks.task import Task
from side_by_side import compare

WORKERS, SAMPLES, COHORT, BATCH, LR = 100, 600, 10, 32, 0.05


def lenet() -> torch.nn.Module:
    return build("lenet5", (1, 28, 28), 10)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    samples = WORKERS * SAMPLES
    return (
        torch.randn(samples, 1, 28, 28, generator=generator),
        torch.randint(0, 10, (samples,), generator=generator),
    )


def manyhands_round(inputs: torch.Tensor, targets: torch.Tensor, rounds: int) -> float:
    """Seconds a round, from the row of the untrained model to the last."""
    task = Task(model=lenet, train=(inputs, targets), test=(inputs[:10], targets[:10]), name="random/lenet5")
    specification = Specification(
        strategy=FedAvg(fraction=COHORT / WORKERS),
        workers=WORKERS,
        rounds=rounds,
        batch_size=BATCH,
        lr=LR,
        evaluate_every=rounds,
    )
    times = []
    with tempfile.TemporaryDirectory() as folder:
        lab.train(
            specification, task=task, out=Path(folder) / "run", observer=lambda _: times.append(time.perf_counter())
        )
    return (times[-1] - times[0]) / rounds


class TextbookLeNet(torch.nn.Module):
    """LeNet-5 as one would write it by hand, each ReLU before its pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)
        self.dense1, self.dense2, self.output = (torch.nn.Linear(*s) for s in ((400, 120), (120, 84), (84, 10)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.output(F.relu(self.dense2(F.relu(self.dense1(x)))))


def plain_round(inputs: torch.Tensor, targets: torch.Tensor, rounds: int) -> float:
    """Seconds a round of the loop that one would write by hand."""
    torch.set_num_threads(1)
    model = TextbookLeNet()
    generator = torch.Generator().manual_seed(1)
    start = time.perf_counter()
    for _ in range(rounds):
        total = None
        for worker in torch.randperm(WORKERS, generator=generator)[:COHORT].tolist():
            local = copy.deepcopy(model)
            optimizer = torch.optim.SGD(local.parameters(), LR)
            own = slice(worker * SAMPLES, (worker + 1) * SAMPLES)
            x, y, order = inputs[own], targets[own], torch.randperm(SAMPLES, generator=generator)
            for i in range(0, SAMPLES, BATCH):
                chosen = order[i : i + BATCH]
                optimizer.zero_grad()
                F.cross_entropy(local(x[chosen]), y[chosen]).backward()
                optimizer.step()
            state = local.state_dict()
            total = state if total is None else {key: total[key] + state[key] for key in state}
        model.load_state_dict({key: value / COHORT for key, value in total.items()})
    return (time.perf_counter() - start) / rounds


if __name__ == "__main__":
    before = time.perf_counter()
    x, y = data()
    made = time.perf_counter() - before
    if sys.argv[1:] == ["start"]:
        manyhands_round(x, y, 1)
        seconds = time.perf_counter() - START - made
        print(f"start and first round: {seconds:.2f} s, without {made:.2f} s in which the random data are made")
        sys.exit()
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    compare(
        "fedavg", lambda: manyhands_round(x, y, rounds), lambda: plain_round(x, y, rounds), repeats, "seconds a round"
    )

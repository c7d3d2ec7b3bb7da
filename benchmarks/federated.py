"""Federated averaging, simulated, against the loop that one would write by hand; each by turns, on random data.

usage: python benchmarks/federated.py CASE [REPEATS] [ROUNDS]     seconds a round of logistic, lenet or pfl-cnn
       python benchmarks/federated.py start CASE [REPEATS]        seconds of a whole run, with the start of Python
       python benchmarks/federated.py memory [ROUNDS]             10,000 clients with LeNet-5: peak memory, and files

Timed is from the row of the untrained model to the last one, of which the first is followed by a checkpoint.
"""

import copy
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyhands import lab
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import FedAvg
from manyhands.tasks.models import build
from manyhands.tasks.partition import Groups
from manyhands.tasks.task import Task
from side_by_side import compare


class TextbookLeNet(nn.Module):
    """LeNet-5 as one would write it by hand, each ReLU before its pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.dense1, self.dense2, self.output = (nn.Linear(*s) for s in ((400, 120), (120, 84), (84, 10)))

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.output(F.relu(self.dense2(F.relu(self.dense1(x)))))


def textbook_pfl() -> nn.Module:
    """The network of pfl's CIFAR-10 benchmark (https://github.com/apple/pfl-research), with torch's own layers."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    model: str
    shape: tuple[int, ...]
    clients: int
    samples: int
    """of each client"""
    cohort: int
    batch: int
    lr: float
    rounds: int
    """timed at once"""
    plain: Callable[[], nn.Module]
    """the same network as one would write it by hand"""

    def data(self) -> tuple[Tensor, Tensor]:
        generator, count = torch.Generator().manual_seed(0), self.clients * self.samples
        inputs = torch.randn(count, *self.shape, generator=generator)
        return inputs, torch.randint(0, 10, (count,), generator=generator)


CASES = {
    "logistic": Case(
        model="logistic", shape=(784,), clients=1000, samples=60, cohort=10, batch=10, lr=0.03, rounds=100,
        plain=lambda: nn.Linear(784, 10),
    ),
    "lenet": Case(
        model="lenet5", shape=(1, 28, 28), clients=100, samples=600, cohort=10, batch=32, lr=0.05, rounds=4,
        plain=TextbookLeNet,
    ),
    "pfl-cnn": Case(
        model="pfl-cnn", shape=(3, 32, 32), clients=1000, samples=50, cohort=50, batch=10, lr=0.1, rounds=20,
        plain=textbook_pfl,
    ),
}  # fmt: skip


def manyhands_run(case: Case, inputs: Tensor, targets: Tensor, rounds: int) -> float:
    """Seconds of the rounds of a run."""
    task = Task(
        model=lambda: build(case.model, case.shape, 10),
        train=(inputs, targets),
        test=(inputs[:10], targets[:10]),
        groups=np.arange(case.clients).repeat(case.samples),  # the loop's clients have these samples too
        name=f"random/{case.model}",
    )
    specification = Specification(
        strategy=FedAvg(fraction=case.cohort / case.clients),
        workers=case.clients,
        rounds=rounds,
        batch_size=case.batch,
        lr=case.lr,
        evaluate_every=rounds,
        partition=Groups(),
    )
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        lab.train(
            specification, task=task, out=Path(folder) / "run", observer=lambda _: times.append(time.perf_counter())
        )
    return times[-1] - times[0]


def plain_run(case: Case, inputs: Tensor, targets: Tensor, rounds: int) -> float:
    """Seconds of the same rounds in a loop on one thread."""
    torch.set_num_threads(1)
    model, generator = case.plain(), torch.Generator().manual_seed(1)
    start = time.perf_counter()
    for _ in range(rounds):
        total: dict[str, Tensor] | None = None
        for client in torch.randperm(case.clients, generator=generator)[: case.cohort].tolist():
            local = copy.deepcopy(model)
            optimizer = torch.optim.SGD(local.parameters(), case.lr)
            own = slice(client * case.samples, (client + 1) * case.samples)
            x, y, order = inputs[own], targets[own], torch.randperm(case.samples, generator=generator)
            for i in range(0, case.samples, case.batch):
                chosen = order[i : i + case.batch]
                optimizer.zero_grad()
                F.cross_entropy(local(x[chosen]), y[chosen]).backward()
                optimizer.step()
            state = local.state_dict()
            total = state if total is None else {key: total[key] + state[key] for key in state}
        assert total is not None
        model.load_state_dict({key: value / case.cohort for key, value in total.items()})
    return time.perf_counter() - start


def time_rounds(name: str, repeats: int, rounds: int) -> None:
    case = CASES[name]
    x, y = case.data()
    compare(
        f"federated averaging: {name}, {rounds} rounds",
        lambda: manyhands_run(case, x, y, rounds) / rounds,
        lambda: plain_run(case, x, y, rounds) / rounds,
        repeats,
        "seconds a round",
    )


def time_start(name: str, repeats: int) -> None:
    """Whole runs, each in a new process, beside the import of torch alone."""
    runs, imports = [], []
    for _ in range(repeats):
        begin = time.time()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        imports.append(time.time() - begin)
        begin = time.time()
        command = [sys.executable, __file__, "once", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(time.time() - begin - float(done.stdout.split()[-1]))
    case = CASES[name]
    result = {
        "benchmark": f"federated averaging: {name}, whole run of {case.rounds} rounds, without making the data",
        "n": repeats,
        "seconds": round(median(runs), 3),
        "least": round(min(runs), 3),
        "greatest": round(max(runs), 3),
        "import_torch": round(median(imports), 3),
    }
    print(json.dumps(result))


def run_once(name: str) -> None:
    """One run; prints the seconds in which its random data were made."""
    before = time.perf_counter()
    x, y = CASES[name].data()
    made = time.perf_counter() - before
    manyhands_run(CASES[name], x, y, CASES[name].rounds)
    print(made)


def measure_memory(rounds: int) -> None:
    """10,000 clients × 6 images, 100 a round, evaluated after every round."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60_000, 1, 28, 28), generator=generator, dtype=torch.uint8)
    targets = torch.randint(0, 10, (60_000,), generator=generator)
    task = Task(
        model=lambda: build("lenet5", (1, 28, 28), 10),
        train=(images, targets),
        test=(images[:1000], targets[:1000]),
        name="random/lenet5",
        mean=(0.5,),
        std=(0.3,),
    )
    specification = Specification(strategy=FedAvg(fraction=0.01), workers=10_000, rounds=rounds, batch_size=6, lr=0.05)
    times: list[float] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        path = lab.train(
            specification, task=task, out=Path(folder) / "run", observer=lambda _: times.append(time.perf_counter())
        )
        files = {file.name: file.stat().st_size for file in sorted(path.rglob("*")) if file.is_file()}
        nodes = len(RunFolder(path).read_checkpoint()[0]["nodes"])
    result = {
        "benchmark": "memory: LeNet-5, 10,000 clients, 100 a round, evaluated after each",
        "rounds": rounds,
        "peak_mebibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "before_mebibytes": round(before),
        "seconds_a_round": round(median(b - a for a, b in pairwise(times)), 3),
        "nodes_in_checkpoint": nodes,
        "kilobytes": {name: round(size / 1000) for name, size in files.items()},
    }
    print(json.dumps(result))


def main(arguments: list[str]) -> None:
    match arguments:
        case ["once", name]:
            run_once(name)
        case ["start", name, *rest]:
            time_start(name, int(rest[0]) if rest else 5)
        case ["memory", *rest]:
            measure_memory(int(rest[0]) if rest else 20)
        case [name, *rest] if name in CASES:
            repeats, rounds = (int(given) for given in (*rest, *(7, CASES[name].rounds)[len(rest) :]))
            time_rounds(name, repeats, rounds)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

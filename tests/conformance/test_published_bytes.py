"""The ledger's bytes are those of a published table: PowerSGD on ResNet-18 and CIFAR-10 (Vogels et al. 2019).

Dimensions: https://arxiv.org/abs/1905.13727, appendix F. The table counts what a worker contributes to a sum; so does
the star, in which every worker but the first sends just that. A ring moves 2 (N - 1) / N times as much.
"""

import pytest
import torch

from manyhands import lab
from manyhands.runs.specification import Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.models import build
from manyhands.tasks.task import Task

WORKERS, BATCH, STEPS = 16, 128, 24


def resnet18() -> torch.nn.Module:
    return build("resnet18", (3, 32, 32), 10)


def cifar() -> Task:
    """As large as a training set of which 24 steps see every image once, but of one grey image."""
    images = torch.zeros(1, 3, 32, 32).expand(WORKERS * BATCH * STEPS, -1, -1, -1)
    targets = torch.arange(len(images)) % 10
    return Task(model=resnet18, train=(images, targets), test=(images[:10], targets[:10]))


@pytest.mark.parametrize(
    ("compression", "mebibytes"), [("none", 1023.0), ("powersgd:1", 4.2), ("powersgd:2", 7.5), ("powersgd:4", 14.2)]
)
def test_powersgd_on_resnet18(compression: str, mebibytes: float) -> None:
    strategy = parse_strategy(f"all-reduce:collective=star,compression={compression}")
    specification = Specification(strategy=strategy, workers=WORKERS, batch_size=BATCH, epochs=1)
    rehearsal = lab.rehearse(specification, task=cifar())
    sent = [rehearsal.ledgers[rank].bytes_sent / 2**20 for rank in range(1, WORKERS)]
    assert [round(each, 1) for each in sent] == [mebibytes] * (WORKERS - 1)


def test_the_model_has_the_published_size() -> None:
    assert sum(parameter.numel() for parameter in resnet18().parameters()) == 11_173_962

from math import prod

import pytest
import torch
from compressing import Workers, distance, vector
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.compression import COMPRESSIONS
from manyhands.tasks.models.resnet import ResNet

everywhere_the_same = settings(derandomize=True, deadline=None, max_examples=20)
seeds = st.integers(0, 10**6)


def low_rank(n: int, m: int, rank: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(size, rank, generator=generator, dtype=torch.float64) for size in (n, m))
    return (left @ right.T).float().view(-1)


def through(rank: int, sent: Tensor, shape: tuple[int, ...]) -> Tensor:
    coder = Workers(f"powersgd:{rank}", 1, shapes=[shape]).coder()
    return coder.decode(coder.encode(sent))


@everywhere_the_same
@given(seeds, st.integers(6, 20), st.integers(6, 20), st.integers(1, 2))
def test_a_matrix_of_this_rank_arrives_exactly(seed: int, n: int, m: int, rank: int) -> None:
    sent = low_rank(n, m, rank, seed)
    assert distance(through(rank, sent, (n, m)), sent) <= 1e-4


@everywhere_the_same
@given(seeds, st.integers(1, 3))
def test_what_arrives_is_a_projection(seed: int, rank: int) -> None:
    """P̂ P̂ᵀ M: of this rank, at a right angle to what it leaves out, and no larger than M."""
    sent = vector(seed, 15 * 12)
    arrived = through(rank, sent, (15, 12))
    assert torch.linalg.matrix_rank(arrived.view(15, 12), rtol=1e-4) == rank
    assert abs(arrived @ (sent - arrived)) <= 1e-4 * sent.norm() ** 2
    assert arrived.norm() <= sent.norm() * (1 + 1e-5)


@pytest.mark.parametrize("way", ["message", "mean"])
def test_warm_start_finds_the_best_approximation(way: str) -> None:
    """Of a matrix that stays, without feedback, what arrives tends to the best of this rank, from its SVD."""
    sent = vector(3, 30 * 20)
    u, s, v = torch.linalg.svd(sent.view(30, 20))
    best = (u[:, :2] * s[:2] @ v[:2]).view(-1)
    workers = Workers("powersgd:2", 1, shapes=[(30, 20)])
    distances = []
    for _ in range(30):
        if way == "message":
            arrived = workers.coder().decode(workers.coder().encode(sent, feedback=False))
        else:
            arrived = workers.mean([sent])[0]
            del workers.states[0]["update/residual"]
        distances.append(distance(arrived, best))
    assert distances[0] > 0.05
    assert distances[-1] <= 1e-3


@everywhere_the_same
@given(seeds, st.integers(1, 5))
def test_a_mean_is_what_one_worker_would_make_of_the_mean(seed: int, count: int) -> None:
    """The method is linear in the matrices, which makes all-reduce possible."""
    shapes = [(10, 3, 2), (4,), (9, 8)]
    many, one = Workers("powersgd:2", count, shapes=shapes), Workers("powersgd:2", 1, shapes=shapes)
    for step in range(3):
        vectors = [vector(seed + 10 * step + rank, 136) for rank in range(count)]
        mean = many.mean(vectors)[0]
        assert distance(mean, one.mean([torch.stack(vectors).mean(0)])[0]) <= 1e-2
        assert torch.allclose(mean[60:64], torch.stack(vectors).mean(0)[60:64], rtol=1e-5)


def test_own_shares_have_the_mean_as_their_mean() -> None:
    workers = Workers("powersgd:1", 3, shapes=[(9, 8), (3,)])
    vectors = [vector(seed, 75) for seed in range(3)]
    mean = workers.mean(vectors)[0]
    own = [each - workers.residual(rank) for rank, each in enumerate(vectors)]
    assert distance(torch.stack(own).mean(0), mean) <= 1e-6
    matrix = slice(72)
    assert min(distance(each[matrix], mean[matrix]) for each in own) > 0.1
    for each, sent in zip(own, vectors, strict=True):  # a projection of what this worker had
        assert abs(each[matrix] @ (sent - each)[matrix]) <= 1e-4 * sent.norm() ** 2


def test_zeros_are_not_the_end() -> None:
    """A layer whose gradient is zero for once is sent again when it is not."""
    workers, sent = Workers("powersgd:1", 2, shapes=[(9, 8)]), low_rank(9, 8, 1, 4)
    assert workers.mean([torch.zeros(72)] * 2)[0].abs().max() == 0
    for _ in range(3):
        mean = workers.mean([sent, sent])[0]
    assert distance(mean, sent) <= 2
    assert mean.norm() > 0
    assert distance(workers.residual(), sent) <= 1


@pytest.mark.parametrize(
    ("shape", "rank", "numbers"),
    [
        ((9, 8), 1, 17),
        ((9, 8), 2, 34),
        ((9, 2, 4), 2, 34),
        ((9, 8), 4, 68),
        ((9, 8), 5, 72),  # factors would have 85
        ((4, 4), 2, 16),  # and these as many as the matrix
        ((50, 3), 2, 106),
        ((72,), 1, 72),
        ((1, 72), 1, 72),
        ((), 1, 1),
    ],
)
def test_bytes_follow_from_the_shapes(shape: tuple[int, ...], rank: int, numbers: int) -> None:
    size = prod(shape)
    workers = Workers(f"powersgd:{rank}", 2, shapes=[shape, (5,)])
    assert workers.coder().encode(vector(1, size + 5)).nbytes == 4 * (numbers + 5)
    workers.mean([vector(1, size + 5), vector(2, size + 5)])
    assert sum(tensor.nbytes for tensor in workers.sent[0]) == 4 * (numbers + 5)


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("none", 1023.0), ("powersgd:1", 4.2), ("powersgd:2", 7.5), ("powersgd:4", 14.2)]
)
def test_an_epoch_of_resnet18_on_cifar10_takes_what_the_paper_says(text: str, mebibytes: float) -> None:
    """Vogels et al. 2019: 24 steps an epoch, with 16 workers and 128 samples each."""
    with torch.device("meta"):
        model = ResNet((3, 32, 32), 10, block="basic", depths=(2, 2, 2, 2))
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    gradient = torch.empty(sum(map(prod, shapes)), device="meta")
    assert len(gradient) == 11_173_962
    COMPRESSIONS.parse(text).check(len(gradient))
    workers = Workers(text, 1, shapes=shapes)
    for _ in range(24):
        workers.mean([gradient])
    sent = sum(tensor.nbytes for tensor in workers.sent[0])
    assert round(sent / 2**20, 1) == mebibytes
    assert workers.coder().encode(gradient).nbytes * 24 == sent

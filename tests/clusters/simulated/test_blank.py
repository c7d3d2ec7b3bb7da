"""Tensors without values answer like torch's own, but for the values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.clusters.simulated.blank import Blank, blank
from manyhands.errors import RunError

OPERATIONS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda a, b: (a - 2 * b) / 3 + a * b**2,
    "functions": lambda a, b: torch.sub(torch.add(a, b, alpha=0.5), torch.mul(a, np.float64(0.3))),
    "in place": lambda a, b: a.add_(b, alpha=0.1).mul_(2).addcmul_(b, b, value=0.5).lerp_(b, 0.5),
    "into another": lambda a, b: torch.add(a, b, out=torch.empty_like(a)),
    "a number of the vector": lambda a, b: a.norm() + torch.dot(a.flatten(), b.flatten()),
    "part": lambda a, b: (a[1:], b[..., 0], a[-1], a.flatten()[::2], b[1:][:-1]),
    "split": lambda a, b: (torch.split(a, 2), b.tensor_split(3), a.chunk(2), a.unbind(1)),
    "shape": lambda a, b: (a.t(), b.t().contiguous().view(-1), a.reshape(-1, 1), b.unsqueeze(0).expand(3, -1, -1)),
    "join": lambda a, b: (torch.cat([a.flatten(), b.flatten()]), torch.stack([a, b]).sum(0), torch.cat((a, b), dim=1)),
    "largest": lambda a, b: (a.flatten().abs().topk(3).indices, b.max(dim=1).values),
    "pick": lambda a, b: a.flatten().index_select(0, torch.tensor([1, 2, 2])),
    "put": lambda a, b: torch.zeros_like(a).flatten().scatter_(0, torch.tensor([1, 2]), b.flatten()[:2]),
    "matrix": lambda a, b: torch.linalg.qr(a @ b.t()).Q,
    "types": lambda a, b: (a.to(torch.bfloat16), b.sign().to(torch.uint8), a > b, a.view(torch.int32), a.double()),
    "new": lambda a, b: (a.new_zeros(7), b.new_empty(2, 3), torch.zeros_like(a, dtype=torch.int64), a.clone()),
}


def shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.stride(), value.nbytes, value.numel(), value.element_size()
    return [shapes(each) for each in value]


@settings(derandomize=True, deadline=None)
@given(st.sampled_from([*OPERATIONS]), st.integers(2, 5), st.integers(3, 6))
def test_every_operation_gives_the_shapes_that_torch_gives(name: str, rows: int, columns: int) -> None:
    operation, (a, b) = OPERATIONS[name], (torch.randn(rows, columns) for _ in range(2))
    blanks = blank(a), blank(b)
    for _ in range(2):  # worked out, then remembered
        assert shapes(operation(*blanks)) == shapes(operation(a.clone(), b.clone()))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_result_is_blank(name: str) -> None:
    def check(value: Any) -> None:
        if isinstance(value, Tensor):
            assert isinstance(value, Blank)
            assert value.is_meta
        else:
            assert len(value) > 0
            for each in value:
                check(each)

    check(OPERATIONS[name](blank(torch.zeros(4, 5)), blank(torch.zeros(4, 5))))


def test_there_is_one_of_each_kind() -> None:
    assert blank(torch.zeros(3)) is blank(torch.ones(3))
    assert blank(torch.zeros(3)) is not blank(torch.zeros(3, dtype=torch.float64))
    assert blank(torch.zeros(3, 2)) is not blank(torch.zeros(2, 3).t())
    assert blank(blank(torch.zeros(3))) is blank(torch.zeros(3))


def test_no_tensors_at_all_are_an_answer_too() -> None:
    assert blank(torch.zeros(0, 3)).unbind() == ()
    assert [part.shape for part in blank(torch.zeros(2, 3)).unbind()] == [(3,), (3,)]
    assert all(isinstance(part, Blank) for part in blank(torch.zeros(2, 3)).unbind())


def test_a_plain_tensor_may_take_part() -> None:
    plain, empty = torch.ones(4), blank(torch.ones(4))
    assert shapes(plain + empty) == shapes(plain)
    assert isinstance(plain * empty, Blank)
    assert plain.add_(empty) is plain  # with values that mean nothing
    assert shapes(torch.cat([plain, empty])) == shapes(torch.ones(8))
    empty[1:] = plain[1:]
    empty += plain


def test_what_is_made_of_a_shape_is_made_anew_for_another() -> None:
    def halves(numbers: int) -> list[int]:
        return [len(part) for part in blank(torch.zeros(numbers)).tensor_split(2)]

    assert [halves(numbers) for numbers in (4, 7, 4)] == [[2, 2], [4, 3], [2, 2]]
    parts = [len(blank(torch.zeros(9))[:end]) for end in (3, -3, 100)]
    assert parts == [3, 6, 9]


@pytest.mark.parametrize("look", [float, bool, int, Tensor.item, Tensor.tolist, Tensor.nonzero, Tensor.numpy])
def test_who_asks_for_a_value_is_told_that_there_is_none(look: Callable[[Tensor], Any]) -> None:
    with pytest.raises(RunError, match="needs the values of a tensor"):
        look(blank(torch.zeros(1)))
    with pytest.raises(RunError, match="needs the values of a tensor"):
        look(blank(torch.zeros(5)).norm())

"""Messages between two real processes, and their headers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.clusters.processes.member import loopback_interface
from manyhands.clusters.processes.wire import (
    DTYPES,
    MAX_DIMENSIONS,
    MAX_TENSORS,
    Kind,
    PeerLost,
    Wire,
    _decode,
    _encode,
)

LIMIT = timedelta(seconds=120)
ECHO = """
import sys
from datetime import timedelta
import torch
import torch.distributed as dist
from manyhands.clusters.processes.wire import Kind, Wire
torch.set_num_threads(1)
store = dist.TCPStore("127.0.0.1", int(sys.argv[1]), timeout=timedelta(seconds=120))
dist.init_process_group("gloo", store=store, rank=1, world_size=2, timeout=timedelta(seconds=120))
wire = Wire(1, torch.device("cpu"))
while (header := wire.receive_header(0)).kind != Kind.CLOSE:
    wire.send(0, header.kind, *wire.receive_tensors(header), progress=header.progress)
    wire.flush()
"""


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """The end of rank 0, in this process, of a connection with a process that sends everything back."""
    os.environ["GLOO_SOCKET_IFNAME"] = loopback_interface()
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=LIMIT)
    echo = subprocess.Popen([sys.executable, "-c", ECHO, str(store.port)])
    try:
        dist.init_process_group("gloo", store=store, rank=0, world_size=2, timeout=LIMIT)
        yield Wire(0, torch.device("cpu"))
        dist.destroy_process_group()
    finally:
        echo.kill()
        echo.wait()
        del os.environ["GLOO_SOCKET_IFNAME"]


def there_and_back(wire: Wire, *tensors: Tensor, progress: float = 0.0) -> tuple[Tensor, ...]:
    wire.send(1, Kind.DATA, *tensors, progress=progress)
    header = wire.receive_header(None)
    assert (header.kind, header.source, header.progress) == (Kind.DATA, 1, progress)
    return wire.receive_tensors(header)


def assert_same(sent: tuple[Tensor, ...], received: tuple[Tensor, ...]) -> None:
    assert len(sent) == len(received)
    for one, other in zip(sent, received, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_crosses_intact(wire: Wire, dtype: torch.dtype) -> None:
    plain = (torch.arange(60) * 37 % 120).to(dtype).view(3, 4, 5)
    sent = (plain, plain.transpose(0, 2), plain[:, ::2, 1:4], plain[1, 2, 3], plain[:0])
    assert not sent[1].is_contiguous()
    assert not sent[2].is_contiguous()
    assert_same(sent, there_and_back(wire, *sent, progress=1 / 3))


def test_a_message_may_hold_as_much_as_its_header_can_say(wire: Wire) -> None:
    sent = tuple(torch.randn([2] * (i % (MAX_DIMENSIONS + 1))) for i in range(MAX_TENSORS))
    assert_same(sent, there_and_back(wire, *sent))


def test_a_message_may_be_empty(wire: Wire) -> None:
    assert there_and_back(wire) == ()


def test_what_is_sent_is_what_it_was_when_it_was_sent(wire: Wire) -> None:
    tensor = torch.ones(2**20)
    assert wire.send(1, Kind.DATA, tensor) == 4 * 2**20
    tensor.zero_()
    (received,) = wire.receive_tensors(wire.receive_header(1))
    assert received.sum() == 2**20


def test_messages_keep_their_order(wire: Wire) -> None:
    sizes = [2**20, 1, 2**16, 0, 3]
    for number, size in enumerate(sizes):
        wire.send(1, Kind.DATA, torch.tensor(number), torch.full((size,), number))
    for number, size in enumerate(sizes):
        label, content = wire.expect(1, Kind.DATA)
        assert label == number
        assert torch.equal(content, torch.full((size,), number))


def test_not_a_number_and_infinity_cross_bit_for_bit(wire: Wire) -> None:
    sent = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    (received,) = there_and_back(wire, sent)
    assert torch.equal(sent.view(torch.int32), received.view(torch.int32))


def test_a_peer_that_goes_away_is_named(wire: Wire) -> None:
    """The last test of this file: it closes the other end."""
    wire.send(1, Kind.CLOSE)
    with pytest.raises(PeerLost, match=r"node 1 is lost: .+") as loss:
        wire.receive_header(1)
    assert "\n" not in str(loss.value)


@settings(deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(Kind),
    progress=st.floats(0, 1),
    tag=st.integers(-(2**63), 2**63 - 1),
    specs=st.lists(
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=MAX_DIMENSIONS)), max_size=MAX_TENSORS
    ),
)
def test_a_header_says_what_follows(
    kind: Kind, progress: float, tag: int, specs: list[tuple[torch.dtype, list[int]]]
) -> None:
    code = _encode(kind, progress, tag, [torch.empty(shape, dtype=dtype) for dtype, shape in specs])
    header = _decode(code, source=5)
    assert (header.kind, header.source, header.progress, header.tag) == (kind, 5, progress, tag)
    assert header.specs == tuple((dtype, tuple(shape)) for dtype, shape in specs)

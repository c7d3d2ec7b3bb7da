"""What all compressions have in common, one table over all of them."""

import subprocess
import sys
from collections.abc import Callable
from math import ceil

import pytest
import torch
from compressing import ALL, LOSSLESS, LOSSY, SHAPES, SIZE, Workers, distance, vector
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.clusters.simulated.blank import blank
from manyhands.compression import COMPRESSIONS
from manyhands.errors import UserError

everywhere_the_same = settings(derandomize=True, deadline=None, max_examples=20)

BYTES: dict[str, Callable[[int], int]] = {
    "none": lambda n: 4 * n,
    "bf16": lambda n: 2 * n,
    "int8": lambda n: n + 4 * ceil(n / 512),
    "int8:5": lambda n: n + 4 * ceil(n / 5),
    "qsgd:1": lambda n: 2 * ceil(n / 8) + 4 * ceil(n / 512),
    "qsgd:7,16": lambda n: 4 * ceil(n / 8) + 4 * ceil(n / 16),
    "qsgd:300": lambda n: 10 * ceil(n / 8) + 4 * ceil(n / 512),
    "sign": lambda n: ceil(n / 8) + 4,
    "top-k:1": lambda n: 8 * min(n, 1),
    "top-k:0.2": lambda n: 8 * min(n, max(1, round(0.2 * n))),
    "random-k:3": lambda n: 4 * min(n, 3) + 8,
    "random-k:0.5": lambda n: 4 * min(n, max(1, round(0.5 * n))) + 8,
}
"""of a message to a single node; PowerSGD, which needs layers, has a test of its own"""


def test_the_table_has_every_compression() -> None:
    assert {text.partition(":")[0] for text in ALL} == set(COMPRESSIONS.members)
    assert BYTES.keys() == {text for text in ("none", *LOSSY) if not text.startswith("powersgd")}


@pytest.mark.parametrize("name", COMPRESSIONS.members)
def test_every_compression_names_its_paper(name: str) -> None:
    member = COMPRESSIONS.members[name]
    assert name == "none" or (member.paper and member.url.startswith("https://arxiv.org/abs/"))
    assert member.__doc__
    assert not member.__doc__.startswith(member.__name__)


@pytest.mark.parametrize("text", ALL)
def test_text_reads_back(text: str) -> None:
    compression = COMPRESSIONS.parse(text)
    assert COMPRESSIONS.parse(str(compression)) == compression


@pytest.mark.parametrize("text", BYTES)
@everywhere_the_same
@given(size=st.integers(0, 1200))
def test_messages_have_the_bytes_of_the_formula(text: str, size: int) -> None:
    workers = Workers(text, 1, shapes=[(size,)])
    payload = workers.coder().encode(vector(1, size))
    assert payload.dim() == 1
    assert payload.is_contiguous()
    assert payload.nbytes == BYTES[text](size)
    assert workers.coder().decode(payload).shape == (size,)


@pytest.mark.parametrize("text", LOSSLESS)
def test_lossless_settings_are_no_compression(text: str) -> None:
    workers, vectors = Workers(text, 3), [vector(seed) for seed in range(3)]
    for _ in range(3):
        decoded = workers.coder().decode(workers.coder().encode(vectors[0]))
        assert torch.equal(decoded, vectors[0])
        for mean in workers.mean(vectors):
            assert distance(mean, torch.stack(vectors).mean(0)) <= 1e-6


@pytest.mark.parametrize("text", ALL)
def test_nothing_but_the_message_is_needed_to_decode(text: str) -> None:
    """Not the sender's state, nor its rank, nor the stream; and decoding leaves no trace."""
    workers, elsewhere = Workers(text, 2), Workers(text, 2, stream="received", seed=9)
    for seed in range(3):
        payload = workers.coder(1).encode(vector(seed))
        decoded = elsewhere.coder(0).decode(payload.clone())
        assert torch.equal(decoded, workers.coder(1).decode(payload))
        assert decoded.dtype == torch.float32
    assert elsewhere.states == [{}, {}]


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("way", ["message", "mean"])
def test_the_same_seed_rank_stream_and_count_give_the_same_bits(text: str, way: str) -> None:
    """Also where the state was copied midway, as a checkpoint does, whatever was drawn elsewhere."""
    one, other = Workers(text, 2), Workers(text, 2)
    for seed in range(3):
        assert _send(one, way, seed) == _send(other, way, seed)
    other.states = [{key: value.clone() for key, value in state.items()} for state in one.states]
    torch.rand(5)
    for seed in range(3, 6):
        assert _send(one, way, seed) == _send(other, way, seed)


@pytest.mark.parametrize("text", ["int8", "qsgd:7", "random-k:9"])
def test_ranks_streams_seeds_and_calls_draw_different_numbers(text: str) -> None:
    def payloads(workers: Workers, rank: int) -> list[Tensor]:
        return [workers.coder(rank).encode(vector(1), feedback=False) for _ in range(2)]

    one, other = Workers(text, 2), Workers(text, 2, stream="other")
    third = Workers(text, 2, seed=6)
    drawn = [*payloads(one, 0), *payloads(one, 1), *payloads(other, 0), *payloads(third, 0)]
    assert len({tuple(payload.tolist()) for payload in drawn}) == len(drawn)


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("valueless", [lambda like: like.to("meta"), blank], ids=["meta", "blank"])
def test_tensors_without_values_take_the_same_bytes(text: str, valueless: Callable[[Tensor], Tensor]) -> None:
    real, workers = Workers(text, 2), Workers(text, 2)
    for seed in range(2):
        expected = real.coder().encode(vector(seed))
        payload = workers.coder().encode(valueless(vector(seed)))
        assert payload.is_meta
        assert (payload.dtype, payload.shape) == (expected.dtype, expected.shape)
        assert workers.coder().decode(payload).shape == (SIZE,)
        assert workers.coder().decode(payload).is_meta
        real.mean([vector(seed), vector(seed + 1)])
        means = workers.mean([valueless(vector(seed))] * 2)
        assert all((mean.shape, mean.dtype, mean.is_meta) == ((SIZE,), torch.float32, True) for mean in means)
        assert [_formats(sent) for sent in workers.sent] == [_formats(sent) for sent in real.sent]


@pytest.mark.parametrize("text", ALL)
def test_what_is_given_stays_as_it_is(text: str) -> None:
    """Neither vectors nor what a collective operation answers may be changed: others hold the same tensors."""
    workers, vectors = Workers(text, 2), [vector(1), vector(2)]
    kept = [v.clone() for v in vectors]
    for _ in range(2):
        workers.coder().encode(vectors[0])
        first, second = workers.mean(vectors)
        assert torch.equal(first, second)
        assert all(map(torch.equal, vectors, kept))


def test_which_may_be_put_on_weights_and_which_need_whole_layers() -> None:
    parsed = {text: COMPRESSIONS.parse(text) for text in ALL}
    assert {text for text, each in parsed.items() if each.dense} == {"none", "bf16", "int8", "int8:5", "qsgd:300"}
    assert {text for text, each in parsed.items() if each.whole} == {"powersgd:1", "powersgd:2", "powersgd:9"}


@pytest.mark.parametrize("text", [text for text in ALL if COMPRESSIONS.parse(text).dense])
def test_dense_ones_are_near_any_vector(text: str) -> None:
    for seed in range(10):
        coder = Workers(text, 1, shapes=[(5000,)]).coder()
        weights = vector(seed, 5000)
        assert distance(coder.decode(coder.encode(weights, feedback=False)), weights) <= 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gzip", "unknown compression 'gzip': choose from none, "),
        ("top-k", "compression 'top-k': needs k (a whole number or a number)"),
        ("top-k:0", "compression 'top-k:0': k must be at least 1, not 0"),
        ("top-k:many", "compression 'top-k:many': k must be a whole number or a number, not 'many'"),
        ("random-k:-3", "compression 'random-k:-3': k must be at least 1, not -3"),
        ("top-k:1.5", "compression 'top-k:1.5': k must be a whole number, or a share above 0 and up to 1.0, not 1.5"),
        ("top-k:0.0", "k must be a whole number, or a share above 0 and up to 1.0, not 0.0"),
        ("top-k:nan", "k must be a whole number, or a share above 0 and up to 1.0, not nan"),
        ("qsgd", "compression 'qsgd': needs levels (a whole number)"),
        ("qsgd:0", "compression 'qsgd:0': levels must lie between 1 and 32,767, not 0"),
        ("qsgd:32768", "levels must lie between 1 and 32,767, not 32768"),
        ("qsgd:7,0", "compression 'qsgd:7,0': bucket must be at least 1, not 0"),
        ("int8:-1", "compression 'int8:-1': bucket must be at least 1, not -1"),
        ("powersgd:0", "compression 'powersgd:0': rank must be at least 1, not 0"),
        ("powersgd:half", "compression 'powersgd:half': rank must be a whole number, not 'half'"),
        ("sign:3", "compression 'sign:3': too many values; it takes none"),
    ],
)
def test_bad_settings_are_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        COMPRESSIONS.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top-k:84", "compression top-k:84: there are 83 numbers; k must be at most 83, or a share"),
        ("random-k:1000", "compression random-k:1000: there are 83 numbers; k must be at most 83, or a share"),
        (
            "powersgd:10",
            "compression powersgd:10: a matrix of at most 83 numbers has no rank above 9; give a smaller one",
        ),
    ],
)
def test_what_does_not_fit_the_vector_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        COMPRESSIONS.parse(text).check(83)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", [*LOSSY, "top-k:83", "random-k:1.0", "powersgd:9"])
def test_what_fits_passes(text: str) -> None:
    COMPRESSIONS.parse(text).check(83)


def test_settings_are_read_without_torch() -> None:
    program = """
import sys
from manyhands.compression import COMPRESSIONS
for text in ("top-k:0.5", "qsgd:7", "powersgd:2"):
    COMPRESSIONS.parse(text).check(100)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def _send(workers: Workers, way: str, seed: int) -> list[list[float]]:
    """What arrives of two vectors, and what is sent, as numbers."""
    if way == "message":
        payload = workers.coder().encode(vector(seed))
        return [payload.tolist(), workers.coder().decode(payload).tolist()]
    means = workers.mean([vector(seed), vector(seed + 100)])
    return [mean.tolist() for mean in means] + [tensor.tolist() for sent in workers.sent for tensor in sent]


def _formats(sent: list[Tensor]) -> list[tuple[torch.dtype, torch.Size]]:
    return [(tensor.dtype, tensor.shape) for tensor in sent]


assert sum(torch.Size(shape).numel() for shape in SHAPES) == SIZE

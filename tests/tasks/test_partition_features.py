"""What workers hold looks different: noise, rotation, several at once, natural groups; and the pictures of it."""

import struct
import zlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from manyhands.errors import UserError
from manyhands.tasks.partition import PARTITIONS, FeatureSkew, Mixed, skewed
from manyhands.tasks.partition.portraits import portraits

GREY = torch.full((4_000, 1, 5, 6), 128, dtype=torch.uint8)
PARTS = [np.arange(0, 2_300), np.arange(2_300, 2_400), np.arange(2_400, 4_000)]  # some are changed in several portions


def stream(worker: int) -> np.random.Generator:
    return np.random.default_rng([5, worker])


def change(text: str, inputs: Tensor, parts: list[np.ndarray] = PARTS) -> Tensor:
    partition = PARTITIONS.parse(text)
    partition.check_inputs(inputs)
    return skewed(partition, inputs, parts, stream)


# ---- noise


def test_noise_grows_from_the_first_worker_to_the_last() -> None:
    """Standard deviation sigma i / (N - 1), as in the code of NIID-Bench."""
    noisy = change("noise:0.1", GREY)
    assert noisy.dtype == torch.uint8
    assert torch.equal(noisy[PARTS[0]], GREY[PARTS[0]])
    for part, level in zip(PARTS[1:], (0.05, 0.1), strict=True):
        added = (noisy[part].float() - 128) / 255
        assert added.std().item() == pytest.approx(level, rel=0.05)
        assert added.mean().item() == pytest.approx(0, abs=4 * level / added.numel() ** 0.5 + 1e-3)


def test_noise_on_numbers_is_gaussian_and_not_cut() -> None:
    inputs = torch.rand(3_000, 4, generator=torch.Generator().manual_seed(1))
    added = (change("noise:2", inputs, [np.arange(1_000), np.arange(1_000, 3_000)]) - inputs).double()
    assert not added[:1_000].any()
    assert stats.kstest(added[1_000:].ravel(), "norm", args=(0, 2)).pvalue > 0.01


def test_noise_is_the_workers_own_and_the_streams_alone_decide() -> None:
    once, again = change("noise:0.1", GREY), change("noise:0.1", GREY)
    assert torch.equal(once, again)
    assert not torch.equal(once[PARTS[1]][:50], once[PARTS[2]][:50])
    other = skewed(PARTITIONS.parse("noise:0.1"), GREY, PARTS, lambda worker: np.random.default_rng([6, worker]))
    assert not torch.equal(other, once)


def test_dark_and_bright_images_are_cut_and_do_not_wrap() -> None:
    black = torch.zeros(500, 1, 8, 8, dtype=torch.uint8)
    noisy = change("noise:0.5", black, [np.arange(1), np.arange(1, 500)])
    assert (noisy[1:] == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (noisy == 255).any()


def test_one_worker_alone_has_no_noise() -> None:
    assert torch.equal(change("noise:0.1", GREY, [np.arange(4_000)]), GREY)


# ---- rotation


def images(channels: int, height: int, width: int, count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
def test_right_angles_are_exact(channels: int) -> None:
    square = images(channels, 28, 28)
    turned = change("rotation:90", square, [np.array([place]) for place in range(6)])
    for place in range(6):
        assert torch.equal(turned[place], torch.rot90(square[place], place, dims=(1, 2)))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 31)])
@pytest.mark.parametrize("degrees", [17.0, -40.0, 400.0])
def test_rotation_is_that_of_scipy(degrees: float, height: int, width: int) -> None:
    """Counter-clockwise about the centre, bilinear, with nothing outside."""
    original = images(1, height, width, 3).float() / 255
    turned = change(f"rotation:{degrees}", original, [np.array([place]) for place in range(3)])
    for place in range(3):
        theirs = ndimage.rotate(
            original[place, 0].numpy(), place * degrees, reshape=False, order=1, mode="grid-constant", cval=0.0
        )
        assert abs(turned[place, 0].numpy() - theirs).max() < 1e-4


def test_groups_share_their_angles() -> None:
    square = images(1, 9, 9)
    turned = change("rotation:90,groups=2", square, [np.array([place]) for place in range(6)])
    for place in range(6):
        assert torch.equal(turned[place], torch.rot90(square[place], place % 2, dims=(1, 2)))


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("rotation:10", torch.zeros(3, 784), r"'rotation:10.0' turns images \[C, H, W\], not inputs of shape \[784\]"),
        ("noise:1", torch.zeros(3, 5, dtype=torch.int64), "changes images and other numbers, not inputs of type"),
        ("iid+noise:1+rotation:5", torch.zeros(3, 4), "turns images"),
    ],
)
def test_inputs_that_cannot_be_changed_are_refused(text: str, inputs: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        PARTITIONS.parse(text).check_inputs(inputs)
    assert "\n" not in str(caught.value)


def test_partitions_without_feature_skew_leave_the_inputs_alone() -> None:
    assert change("dirichlet:0.3", GREY) is GREY


# ---- several at once

OWNERS = st.sampled_from(
    ["iid", "dirichlet:0.3", "dirichlet:0.3,least=2", "linear", "labels:2", "groups", "groups:a+b.txt"]
)
SKEWS = st.sampled_from(["noise:0.1", "noise:1e+1", "rotation:90.0", "rotation:15.0,groups=4"])


@given(owner=OWNERS | st.none(), skews=st.lists(SKEWS, max_size=3), place=st.integers(0, 3))
def test_joined_partitions_read_back(owner: str | None, skews: list[str], place: int) -> None:
    texts = skews[:place] + [owner] * (owner is not None) + skews[place:]
    if not texts:
        return
    partition = PARTITIONS.parse("+".join(texts))
    assert PARTITIONS.parse(str(partition)) == partition
    assert [str(skew) for skew in partition.skews] == [str(PARTITIONS.parse(text)) for text in skews]
    assert isinstance(partition, Mixed) == (len(texts) > 1)


@given(workers=st.integers(1, 6), seed=st.integers(0, 99))
def test_one_of_them_says_who_owns_what(workers: int, seed: int) -> None:
    targets = np.arange(200) % 5

    def split(text: str) -> list[list[int]]:
        parts = PARTITIONS.parse(text).split(targets, workers, np.random.default_rng(seed))
        return [part.tolist() for part in parts]

    assert split("noise:1+dirichlet:0.5+rotation:9") == split("dirichlet:0.5")
    assert split("noise:1+rotation:9") == split("rotation:9") == split("iid")


def test_inputs_are_changed_in_the_order_written() -> None:
    square = images(1, 12, 12)
    parts = [np.array([0, 1]), np.array([2, 3, 4, 5])]
    first = change("rotation:45+noise:0.2", square, parts)
    assert not torch.equal(first, change("noise:0.2+rotation:45", square, parts))
    assert (change("noise:0.2+rotation:45", square, parts)[2:, :, 0, 0] == 0).all()  # corners come from outside
    assert (first[2:, :, 0, 0] != 0).any()


def test_every_feature_skew_says_what_it_is() -> None:
    skews = [member for member in PARTITIONS.members.values() if issubclass(member, FeatureSkew)]
    assert {skew.name for skew in skews} == {"noise", "rotation"}
    for member in PARTITIONS.members.values():
        assert (member.__doc__ or "").partition("\n")[0].endswith(".")
    about = PARTITIONS.parse("dirichlet:0.3+noise:0.1").about
    assert "drawn from Dir(alpha)" in about
    assert "Gaussian noise of standard deviation sigma * i / (N - 1)" in about


def test_the_usage_names_all_and_how_to_join_them() -> None:
    usage = PARTITIONS.usage()
    for words in ("quantity:ALPHA", "linear, square, exponential", "noise:SIGMA", "rotation:DEGREES", "groups[:FILE]"):
        assert words in usage
    assert usage.endswith("dirichlet:0.3+noise:0.1")


# ---- natural groups


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    def write(content: str) -> str:
        (tmp_path / "writers.txt").write_text(content)
        return str(tmp_path / "writers.txt")

    return write


def split_groups(text: str, samples: int, workers: int, groups: np.ndarray | None = None) -> list[list[int]]:
    parts = PARTITIONS.parse(text).split(np.zeros(samples, np.int64), workers, np.random.default_rng(0), groups)
    return [part.tolist() for part in parts]


def test_each_group_is_a_worker() -> None:
    assert split_groups("groups", 6, 3, np.array([7, -2, 7, 40, 40, 7])) == [[1], [0, 2, 5], [3, 4]]


def test_more_groups_than_workers_are_dealt_out_in_turn() -> None:
    assert split_groups("groups", 7, 3, np.array([0, 1, 2, 3, 4, 5, 6])) == [[0, 3, 6], [1, 4], [2, 5]]


def test_groups_from_files(written: Callable[[str], str], tmp_path: Path) -> None:
    assert split_groups("groups:" + written("10\n9\n10\n"), 3, 2) == [[1], [0, 2]]  # numbers in their order
    assert split_groups("groups:" + written("eve \nadam\neve"), 3, 2) == [[1], [0, 2]]
    np.save(tmp_path / "writers.npy", np.array([3, 1, 3], dtype=np.uint16))
    assert split_groups(f"groups:{tmp_path / 'writers.npy'}", 3, 2) == [[1], [0, 2]]


def test_a_file_goes_before_the_tasks_own_groups(written: Callable[[str], str]) -> None:
    assert split_groups("groups:" + written("0\n1\n1"), 3, 2, np.array([1, 1, 0])) == [[0], [1, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n2\n", r"writers.txt has 2 groups for 3 training samples: give one for each of them"),
        ("1\n1\n1\n", r"2 workers need a group each, and there are 1: use fewer workers"),
        ("", r"writers.txt has 0 groups for 3 training samples"),
        ("1\n1.5\nx\n2", r"has 4 groups for 3 training samples"),
    ],
)
def test_groups_that_do_not_fit_are_told(content: str, message: str, written: Callable[[str], str]) -> None:
    with pytest.raises(UserError, match=message) as caught:
        split_groups(f"groups:{written(content)}", 3, 2)
    assert "\n" not in str(caught.value)


def test_files_without_groups_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the groups in .*nowhere.txt: No such file"):
        split_groups(f"groups:{tmp_path / 'nowhere.txt'}", 3, 2)
    np.save(tmp_path / "table.npy", np.zeros((3, 2)))
    with pytest.raises(UserError, match=r"must have whole numbers of shape \[n\] for groups, not float64 of \[3, 2\]"):
        split_groups(f"groups:{tmp_path / 'table.npy'}", 3, 2)
    for damaged in (b"", b"\x93NUMPY", b"\x00\xff\x93"):
        for name in ("damaged.npy", "damaged.txt"):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(UserError, match=r"holds no groups|has \d groups for 3 training"):
                split_groups(f"groups:{tmp_path / name}", 3, 2)


# ---- pictures


def read_png(data: bytes) -> np.ndarray:
    """The pixels [H, W, C] of a file of one chunk of pixels, without filters."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        body = data[place + 4 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length]) == (zlib.crc32(body),)
        chunks[body[:4]] = body[4:]
        place += 12 + length
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest) == (8, [0, 0, 0])
    assert colour in (0, 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 1 if colour == 0 else 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_portraits_are_of_one_class_where_they_can_be(channels: int) -> None:
    inputs, targets = images(channels, 5, 7, 8), np.array([0, 2, 0, 3, 3, 0, 1, 3])
    parts = [np.array([4, 6]), np.array([1, 2, 3, 7]), np.array([0, 5])]
    shown = portraits(inputs, targets, parts)
    assert [portrait["worker"] for portrait in shown] == [0, 1, 2]
    # Class 0 is held by two of them, as is class 3: the former; worker 0 has none of it.
    for portrait, place in zip(shown, (4, 2, 0), strict=True):
        assert (read_png(b64decode(portrait["png"])) == inputs[place].permute(1, 2, 0).numpy()).all()
    assert portraits(inputs.float() / 255, targets, parts) == shown


def test_of_many_workers_some_are_shown_from_the_first_to_the_last() -> None:
    shown = portraits(images(1, 4, 4, 200), np.zeros(200, np.int64), [np.array([place]) for place in range(200)])
    ranks = [portrait["worker"] for portrait in shown]
    assert len(ranks) == 20
    assert (ranks[0], ranks[-1]) == (0, 199)
    assert ranks == sorted(set(ranks))


def test_what_is_no_image_has_no_portrait() -> None:
    assert portraits(torch.zeros(4, 784), np.zeros(4, np.int64), [np.arange(4)]) == []
    assert portraits(torch.zeros(4, 2, 8, 8), np.zeros(4, np.int64), [np.arange(4)]) == []

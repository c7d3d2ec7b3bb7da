import json
from itertools import cycle
from time import perf_counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from manyhands.errors import UserError
from manyhands.tasks.models import build
from manyhands.training import precision as precision_module
from manyhands.training.loss import CrossEntropy
from manyhands.training.precision import PRECISIONS, Precision, _Probe, choose, has_bf16

CPU = torch.device("cpu")


class Net(nn.Module):
    """A convolution of one channel, a norm and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dense = nn.Linear(4 * 36, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.dense(F.relu(self.norm(self.conv(images))).flatten(1))  # type: ignore[no-any-return]


class WrongConv(nn.Conv2d):
    """Wrong in bf16 alone, as real kernels have been."""

    def forward(self, images: Tensor) -> Tensor:
        out = super().forward(images)
        return out.flip(1) if torch.is_autocast_enabled("cpu") else out


class WrongNet(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv = WrongConv(1, 4, 3)


class Fails(Net):
    def forward(self, images: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("\"such_an_op\" not implemented for 'BFloat16'\nat some place")
        return super().forward(images)


class Diverges(Net):
    """Sound in every layer, but not in what lies between."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (float("nan") if torch.is_autocast_enabled("cpu") else 1.0)


def chosen(name: str, model: type[nn.Module] = Net, samples: int = 8) -> Precision:
    inputs, targets = torch.linspace(-1, 1, samples * 64).view(samples, 1, 8, 8), torch.arange(samples) % 10
    return choose(name, model, inputs, targets, CrossEntropy(), CPU)


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with bf16, whatever this one is."""
    monkeypatch.setattr(precision_module, "has_bf16", lambda device: True)


@pytest.fixture
def fast_bf16(able: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Probe, "seconds", lambda self, size, budget: [0.02, 0.01])


def test_fp32_is_left_alone() -> None:
    precision = chosen("fp32")
    assert (precision.name, precision.why, precision.channels_last) == ("fp32", "asked for", False)
    images = torch.randn(2, 3, 4, 4)
    assert precision.layout(images) is images
    with precision.autocast(CPU):
        assert nn.Linear(3, 3)(torch.randn(2, 3)).dtype == torch.float32


def test_bf16_computes_in_bf16_on_channels_last_images_only() -> None:
    precision = chosen("bf16")
    assert precision.name == "bf16"
    assert precision.why.startswith("asked for")
    images = torch.randn(2, 3, 4, 4)
    assert precision.layout(images).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(precision.layout(images), images)
    rows = torch.randn(2, 3)
    assert precision.layout(rows) is rows
    with precision.autocast(CPU):
        assert nn.Linear(3, 3)(rows).dtype == torch.bfloat16
    assert nn.Linear(3, 3)(rows).dtype == torch.float32


@pytest.mark.parametrize("channels_last", [False, True])
def test_layout_of_the_images_leaves_gradients_in_plain_order(channels_last: bool) -> None:
    """So that they fit into a flat vector: a gradient's numbers must lie as its parameter's do."""
    module = build("resnet18", (3, 8, 8), 10, width=16, depths="1-1")
    vector = torch.zeros(sum(parameter.numel() for parameter in module.parameters()))
    start = 0
    for parameter in module.parameters():
        parameter.grad = vector[start : start + parameter.numel()].view(parameter.shape)
        start += parameter.numel()
    images, targets = torch.randn(4, 3, 8, 8), torch.arange(4)
    precision = Precision(name="fp32", why="a test", channels_last=channels_last)
    torch.autograd.backward(F.cross_entropy(module(precision.layout(images)), targets))
    expected = torch.autograd.grad(F.cross_entropy(module(images), targets), list(module.parameters()))
    torch.testing.assert_close(vector, torch.cat([part.flatten() for part in expected]), rtol=1e-4, atol=1e-5)


@given(name=st.sampled_from(["fp32", "bf16"]), why=st.text(), channels_last=st.booleans())
def test_json_and_value_are_each_others_inverse(name: str, why: str, channels_last: bool) -> None:
    precision = Precision(name=name, why=why, channels_last=channels_last)
    assert precision.to_json().keys() >= {"chosen", "why"}
    assert Precision.from_json(json.loads(json.dumps(precision.to_json()))) == precision


def test_another_name_is_refused() -> None:
    with pytest.raises(UserError, match="unknown precision 'fp16': choose from fp32, bf16, auto"):
        chosen("fp16")


def test_without_bf16_instructions_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "has_bf16", lambda device: False)
    monkeypatch.setattr(precision_module, "_Probe", None)
    assert chosen("auto") == Precision(name="fp32", why="auto: this processor has no bfloat16 instructions")
    assert "no bfloat16 instructions" in chosen("bf16").why


def test_auto_takes_bf16_where_it_is_faster_and_agrees(fast_bf16: None) -> None:
    precision = chosen("auto")
    assert precision.why == "auto: bf16 is 2.00 times as fast as fp32 (8 samples a step)"
    assert (precision.name, precision.channels_last) == ("bf16", True)


@pytest.mark.parametrize(("seconds", "name"), [((1.0, 1.0), "fp32"), ((1.08, 1.0), "fp32"), ((1.12, 1.0), "bf16")])
def test_auto_wants_a_tenth_more_speed(
    seconds: tuple[float, float], name: str, able: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Probe, "seconds", lambda self, size, budget: list(seconds))
    precision = chosen("auto")
    assert precision.name == name
    assert f"{seconds[0]:.2f} times" in precision.why


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (WrongNet, "but layer 'conv' gives another result"),
        (Diverges, "but the loss is nan and not"),
        (Fails, "bf16 fails with \"such_an_op\" not implemented for 'BFloat16'"),
    ],
)
def test_auto_keeps_fp32_where_bf16_goes_wrong(model: type[nn.Module], why: str, fast_bf16: None) -> None:
    precision = chosen("auto", model)
    assert (precision.name, precision.channels_last) == ("fp32", False)
    assert why in precision.why
    assert "\n" not in precision.why


@pytest.mark.parametrize("name", ["logistic", "mlp", "cnn", "lenet5", "resnet18"])
def test_sound_rounding_passes_the_check(name: str, fast_bf16: None) -> None:
    """Emulated where the processor has no bf16; the arithmetic is the same."""
    options: dict[str, str | int] = {"width": 16, "depths": "1-1-1"} if name == "resnet18" else {}
    inputs, targets = torch.randn(4, 1, 16, 16), torch.arange(4)
    precision = choose("auto", lambda: build(name, (1, 16, 16), 10, **options), inputs, targets, CrossEntropy(), CPU)
    assert precision.name == "bf16", precision.why


def test_an_error_of_the_model_itself_is_not_hidden(able: None) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        choose("auto", lambda: nn.Linear(3, 10), torch.randn(4, 5), torch.arange(4), CrossEntropy(), CPU)


def test_slow_models_are_measured_on_few_samples(able: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated time: a step takes a second a sample in fp32 and half of it in bf16."""
    now, sizes = 0.0, []

    def step(self: _Probe, precision: Precision, size: int) -> float:
        nonlocal now
        now += size * (1.0 if precision.name == "fp32" else 0.5)
        sizes.append(size)
        return 1.0

    monkeypatch.setattr(_Probe, "step", step)
    monkeypatch.setattr(precision_module, "perf_counter", lambda: now)
    precision = chosen("auto", samples=64)
    assert precision.why.startswith("auto: bf16 is 2.00 times as fast")
    assert max(sizes) == 2


def test_steps_are_timed_in_turns_and_the_first_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    durations = iter([9.0, 9.0, 3.0, 2.0, 2.0, 3.0, *[5.0] * 40])

    def step(self: _Probe, precision: Precision, size: int) -> float:
        nonlocal now
        assert precision.name == next(turns)
        now += next(durations)
        return 1.0

    turns = cycle(["fp32", "bf16"])
    monkeypatch.setattr(_Probe, "step", step)
    monkeypatch.setattr(precision_module, "perf_counter", lambda: now)
    probe = _Probe(Net(), torch.randn(2, 1, 8, 8), torch.arange(2), CrossEntropy(), True)
    assert probe.seconds(2, 100.0) == [2.0, 2.0]


def test_auto_leaves_torchs_random_state_as_it_was(able: None) -> None:
    before = torch.random.get_rng_state()
    assert chosen("auto").why.startswith("auto: ")
    assert torch.equal(before, torch.random.get_rng_state())


def test_auto_chooses_for_real_within_seconds() -> None:
    """On this machine, whatever it is: a choice, a reason in one line, and not half a minute."""
    start = perf_counter()
    inputs, targets = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    precision = choose(
        "auto", lambda: build("resnet18", (3, 32, 32), 10, width=16), inputs, targets, CrossEntropy(), CPU
    )
    assert precision.name in PRECISIONS[:2]
    assert precision.why.startswith("auto: ")
    assert perf_counter() - start < 30
    assert has_bf16(CPU) or precision.name == "fp32"


def test_rounded_weights_are_not_kept() -> None:
    """New weights in the same memory count at once, within one context too."""
    layer, rows = nn.Linear(2, 1, bias=False), torch.ones(1, 2)
    with chosen("bf16").autocast(CPU):
        for weight in (1.0, 2.0):
            layer.weight.data.fill_(weight)
            assert layer(rows).item() == 2 * weight


@pytest.mark.parametrize(("channels", "stride", "sound"), [(15, 2, False), (16, 2, True), (15, 1, True)])
def test_channels_last_is_left_out_where_onednn_would_corrupt_memory(channels: int, stride: int, sound: bool) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, 32, 1, stride), nn.Flatten())

    inputs, targets = torch.randn(2, channels, 4, 4), torch.arange(2)
    precision = choose("bf16", model, inputs, targets, CrossEntropy(), CPU)
    assert precision.channels_last == sound

import subprocess
import sys

import pytest
import torch
from torch import nn

from manyhands.errors import UserError
from manyhands.tasks.models import MODEL_NAMES, build
from manyhands.tasks.models.dropout import Dropout
from manyhands.tasks.models.resnet import Basic

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def parameters(name: str, input_shape: tuple[int, ...], **options: str | int) -> int:
    with torch.device("meta"):
        module = build(name, input_shape, 10, **options)
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "input_shape", "count"),
    [
        ("logistic", MNIST, 7_850),
        ("mlp", MNIST, 199_210),
        ("cnn", MNIST, 1_663_370),
        ("lenet5", MNIST, 61_706),
        ("lenet5", CIFAR, 62_006),
        ("niid-cnn", MNIST, 44_426),
        ("niid-cnn", CIFAR, 62_006),
        ("pfl-cnn", MNIST, 1_199_882),
        ("pfl-cnn", CIFAR, 1_626_442),
        ("resnet18", CIFAR, 11_173_962),
        ("resnet34", CIFAR, 21_282_122),
        ("resnet50", CIFAR, 23_520_842),
        ("resnet101", CIFAR, 42_512_970),
        ("resnet152", CIFAR, 58_156_618),
    ],
)
def test_published_numbers_of_parameters(name: str, input_shape: tuple[int, ...], count: int) -> None:
    assert parameters(name, input_shape) == count


@pytest.mark.parametrize(
    ("name", "options", "same_as"),
    [
        ("resnet18", {"depths": "3-4-6-3"}, "resnet34"),
        ("resnet34", {"block": "bottleneck"}, "resnet50"),
        ("resnet152", {"depths": "2-2-2-2", "block": "basic"}, "resnet18"),
        ("resnet18", {"norm": "group"}, "resnet18"),
        ("resnet18", {"width": "64"}, "resnet18"),
    ],
)
def test_options_lead_from_one_resnet_to_another(name: str, options: dict[str, str | int], same_as: str) -> None:
    assert parameters(name, CIFAR, **options) == parameters(same_as, CIFAR)


def test_resnet20_of_the_paper_is_a_matter_of_options() -> None:
    """0.27 M parameters in table 6 of He et al. 2016; projection shortcuts add 2,752 to its 269,722."""
    assert parameters("resnet18", CIFAR, depths="3-3-3", width="16") == 269_722 + 2_752


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("input_shape", [MNIST, CIFAR])
def test_batches_become_logits(name: str, input_shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        assert build(name, input_shape, 7)(torch.empty(5, *input_shape)).shape == (5, 7)


@pytest.mark.parametrize("input_shape", [(20,), (3, 12, 40), (2, 5, 6, 7)])
def test_dense_models_take_any_shape(input_shape: tuple[int, ...]) -> None:
    for name in ("logistic", "mlp"):
        assert build(name, input_shape, 3)(torch.randn(2, *input_shape)).shape == (2, 3)


@pytest.mark.parametrize("sides", [(12, 12), (13, 50), (32, 32), (64, 31)])
def test_convolutional_models_take_other_sizes(sides: tuple[int, int]) -> None:
    for name in ("cnn", "lenet5", "pfl-cnn", *(["niid-cnn"] if min(sides) >= 16 else [])):
        assert build(name, (3, *sides), 10)(torch.randn(2, 3, *sides)).shape == (2, 10)


def test_niid_cnn_ends_its_convolutions_with_16_maps_of_4_by_4_or_5_by_5() -> None:
    """Li et al. 2022 take images as they are, so that those of MNIST end smaller than LeNet-5 has them."""
    for input_shape, side in ((MNIST, 4), (CIFAR, 5)):
        module = build("niid-cnn", input_shape, 10)
        assert isinstance(dense := module.dense1, nn.Linear)
        assert dense.in_features == 16 * side * side


def test_lenet5_ends_its_convolutions_with_16_maps_of_5_by_5() -> None:
    for input_shape in (MNIST, CIFAR):
        module = build("lenet5", input_shape, 10)
        assert isinstance(dense := module.dense1, nn.Linear)
        assert dense.in_features == 16 * 5 * 5


@pytest.mark.parametrize("name", ["lenet5", "cnn", "niid-cnn"])
def test_pooling_before_the_relu_changes_nothing(name: str) -> None:
    """Against the textbook's order, built of the same layers: logits and gradients are the same to the bit."""
    module = build(name, MNIST, 10)
    layers = list(module.children())
    first, second, *dense = layers
    textbook = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    for layer in dense[:-1]:
        textbook += [layer, nn.ReLU()]
    images, cotangent = torch.randn(4, *MNIST), torch.randn(4, 10)
    results = []
    for model in (module, nn.Sequential(*textbook, dense[-1])):
        logits = model(images)
        results.append([logits, *torch.autograd.grad(logits, list(module.parameters()), cotangent)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_resnet_halves_the_image_at_each_stage_but_the_first() -> None:
    module = build("resnet18", CIFAR, 10, width=4)
    sizes = []
    for block in module.blocks:  # type: ignore[union-attr]
        block.register_forward_hook(lambda _block, _inputs, output: sizes.append(tuple(output.shape[1:])))
    module(torch.randn(2, *CIFAR))
    assert sizes == [(4, 32, 32)] * 2 + [(8, 16, 16)] * 2 + [(16, 8, 8)] * 2 + [(32, 4, 4)] * 2


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)])
def test_norm_is_the_one_asked_for(norm: str, kind: type[nn.Module]) -> None:
    module = build("resnet50", CIFAR, 10, norm=norm, width=8)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d | nn.GroupNorm)]
    assert len(norms) == 53
    assert all(isinstance(part, kind) for part in norms)
    assert bool(list(module.buffers())) == (norm == "batch")


@pytest.mark.parametrize("width", [12, 64])
def test_group_norm_divides_every_width(width: int) -> None:
    module = build("resnet18", CIFAR, 10, norm="group", width=width)
    assert module(torch.randn(2, *CIFAR)).isfinite().all()


def test_a_resnet_block_is_the_identity_plus_a_residual() -> None:
    block = Basic(4, 4, stride=1, norm="batch").eval()
    nn.init.zeros_(block.get_parameter("norm2.weight"))
    x = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("name", "input_shape", "options", "message"),
    [
        ("lenet", MNIST, {}, "unknown model 'lenet': choose from logistic, mlp, cnn, lenet5, niid-cnn, "),
        ("lenet5", MNIST, {"width": 3}, "model 'lenet5' has no option 'width'; it takes none"),
        ("resnet18", CIFAR, {"w": 3}, "no option 'w'; it takes block, depths, width, norm"),
        ("resnet18", CIFAR, {"width": 0}, "model 'resnet18': width must be a whole number of at least 1, not '0'"),
        ("resnet18", CIFAR, {"width": "x"}, "width must be a whole number of at least 1, not 'x'"),
        ("resnet18", CIFAR, {"norm": "layer"}, "norm must be batch or group, not 'layer'"),
        ("resnet18", CIFAR, {"block": "big"}, "block must be basic or bottleneck, not 'big'"),
        ("resnet18", CIFAR, {"depths": "2-0"}, "each of depths must be a whole number of at least 1, not '0'"),
        ("resnet18", CIFAR, {"depths": ""}, "each of depths must be a whole number of at least 1, not ''"),
        ("resnet18", CIFAR, {"depths": 18}, "depths must be blocks per stage such as 2-2-2-2, not '18'"),
        ("resnet18", (784,), {}, "takes images [channels, height, width], not inputs of shape [784]"),
        ("lenet5", (1, 8, 8), {}, "images [channels, height, width] of at least 12 × 12 pixels, not inputs of"),
        ("cnn", (1, 3, 28), {}, "of at least 4 × 4 pixels"),
        ("niid-cnn", (1, 15, 28), {}, "of at least 16 × 16 pixels"),
        ("pfl-cnn", (1, 5, 28), {}, "of at least 6 × 6 pixels"),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(
    name: str, input_shape: tuple[int, ...], options: dict[str, str | int], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        build(name, input_shape, 10, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_and_settings_come_without_torch() -> None:
    modules = ["tasks.models", "training.loss", "training.optimizer", "training.schedule", "training.precision"]
    lines = [f"import manyhands.{module}" for module in modules]
    lines += ["import sys", "sys.exit('torch' in sys.modules)"]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0


def test_pfl_cnn_is_that_of_its_source() -> None:
    """Against the layers as pfl-research has them, in evaluation, where nothing is dropped; and its first weights."""
    module = build("pfl-cnn", CIFAR, 10).eval()
    convolution1, convolution2, _, dense, _, output = module.children()
    source = nn.Sequential(
        *(convolution1, nn.ReLU(), convolution2, nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten()),
        *(dense, nn.ReLU(), nn.Dropout(0.5), output),
    ).eval()
    images = torch.randn(4, *CIFAR)
    assert torch.equal(module(images), source(images))
    assert [part.rate for part in module.modules() if isinstance(part, Dropout)] == [0.25, 0.5]
    for layer, inputs, outputs in ((dense, 12_544, 128), (convolution2, 32 * 9, 64 * 9)):
        bound = (6 / (inputs + outputs)) ** 0.5  # Glorot and Bengio 2010, equation 16
        assert 0.98 * bound < layer.get_parameter("weight").abs().max() <= bound

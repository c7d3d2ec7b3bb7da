"""Small models: logistic regression, the 2NN and CNN of federated averaging, LeNet-5, and the networks of benchmarks.

Where a pooling is followed by a ReLU, the two are equal in either order, with the same gradients, because
both are monotone. Pooling first leaves the ReLU a quarter of the values: some 4 % of LeNet-5's training step.
"""

from collections.abc import Callable
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from manyhands.errors import UserError
from manyhands.tasks.models.dropout import Dropout
from manyhands.tasks.models.pooling import max_pool_2x2


def logistic(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Multinomial logistic regression on the flattened input: 7,850 parameters for MNIST."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), classes))


def mlp(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The 2NN of McMahan et al. 2017 (https://arxiv.org/abs/1602.05629): 199,210 parameters for MNIST."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(input_shape), 200),
        nn.ReLU(),
        nn.Linear(200, 200),
        nn.ReLU(),
        nn.Linear(200, classes),
    )


class CNN(nn.Module):
    """The CNN of McMahan et al. 2017 (https://arxiv.org/abs/1602.05629): 1,663,370 parameters for MNIST."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape(input_shape, least=4)
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.dense = nn.Linear(64 * (height // 4) * (width // 4), 512)
        self.output = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(max_pool_2x2(self.conv1(images)))
        x = F.relu(max_pool_2x2(self.conv2(x)))
        x = F.relu(self.dense(x.flatten(1)))
        return self.output(x)  # type: ignore[no-any-return]


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al. 1998, https://doi.org/10.1109/5.726791) with ReLU, max pooling, a linear output.

    61,706 parameters for 28 × 28 × 1. Images smaller than the paper's 32 × 32 are padded by two on each side,
    so that both sizes end as 16 maps of 5 × 5. ``padded=False`` takes them as they are.
    """

    def __init__(self, input_shape: tuple[int, ...], classes: int, *, padded: bool = True) -> None:
        super().__init__()
        channels, height, width = image_shape(input_shape, least=12 if padded else 16)
        padding = 2 if padded and min(height, width) < 32 else 0
        rows, columns = (((side + 2 * padding - 4) // 2 - 4) // 2 for side in (height, width))
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.dense1 = nn.Linear(16 * rows * columns, 120)
        self.dense2 = nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(max_pool_2x2(self.conv1(images)))
        x = F.relu(max_pool_2x2(self.conv2(x)))
        x = F.relu(self.dense1(x.flatten(1)))
        x = F.relu(self.dense2(x))
        return self.output(x)  # type: ignore[no-any-return]


def niid_cnn(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The ``simple-cnn`` of NIID-Bench, Li et al. 2022 (https://arxiv.org/abs/2102.02079): LeNet-5 without padding.

    44,426 parameters for 28 × 28 × 1, which end as 16 maps of 4 × 4, and 62,006 for 32 × 32 × 3.
    """
    return LeNet5(input_shape, classes, padded=False)


class PflCNN(nn.Module):
    """The ``simple_cnn`` of pfl-research, Granqvist et al. 2024 (https://arxiv.org/abs/2404.06430), with its dropout.

    1,626,442 parameters for 32 × 32 × 3. Weights begin as Glorot and Bengio 2010 have them, uniform, as in its source
    (https://github.com/apple/pfl-research, benchmarks/model/pytorch/cnn.py); biases as torch has them.
    """

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape(input_shape, least=6)
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = Dropout(0.25)
        self.dense = nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128)
        self.dropout2 = Dropout(0.5)
        self.output = nn.Linear(128, classes)
        for layer in (self.conv1, self.conv2, self.dense, self.output):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.conv1(images))
        x = self.dropout1(F.relu(max_pool_2x2(self.conv2(x))))
        x = self.dropout2(F.relu(self.dense(x.flatten(1))))
        return self.output(x)  # type: ignore[no-any-return]


BUILDERS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "logistic": logistic,
    "mlp": mlp,
    "cnn": CNN,
    "lenet5": LeNet5,
    "niid-cnn": niid_cnn,
    "pfl-cnn": PflCNN,
}


def image_shape(input_shape: tuple[int, ...], *, least: int = 1) -> tuple[int, int, int]:
    """The input as (channels, height, width); raises UserError for others, and for sides below ``least``."""
    match input_shape:
        case (channels, height, width) if min(height, width) >= least:
            return channels, height, width
    size = f" of at least {least} × {least} pixels" if least > 1 else ""
    raise UserError(f"takes images [channels, height, width]{size}, not inputs of shape {list(input_shape)}")

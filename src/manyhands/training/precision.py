"""In which number format a model computes: ``fp32``, ``bf16``, or ``auto``, the faster by measurement.

Only the computation changes: weights, gradients and the loss stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from manyhands.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PRECISIONS = ("fp32", "bf16", "auto")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How a run computes, and why so."""

    name: str
    """fp32 or bf16"""
    why: str
    """one line"""
    channels_last: bool = False
    """whether images lie in memory pixel by pixel: faster in bf16, on the processor's matrix units too"""

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """The context for forward passes: in bf16, matrix products and convolutions compute in bfloat16."""
        import torch

        if self.name == "fp32":
            return nullcontext()
        # No cache of rounded weights: a pass uses each once, and all threads would share it.
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)

    def layout(self, inputs: Tensor) -> Tensor:
        """The inputs as they should lie in memory. The weights stay as they are, views into a flat vector."""
        import torch

        if self.channels_last and inputs.dim() == 4:
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    def to_json(self) -> dict[str, Any]:
        """The entry ``precision`` of ``run.json``."""
        return {"chosen": self.name, "why": self.why, "channels_last": self.channels_last}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        return cls(name=data["chosen"], why=data["why"], channels_last=data["channels_last"])


LEAST_GAIN = 1.1
"""bf16 must be this many times as fast, or its rounding buys nothing"""
LAYER_TOLERANCE = 0.05
"""relative; rounding left at most 0.007 in the output and gradients of a layer, a wrong kernel 0.5 and more"""
LOSS_TOLERANCE = 0.1
"""relative; ResNet-18 differs by 0.0005, and ResNet-101 with two samples by 0.04"""
PROBE_SECONDS = 4.0
PROBE_STEPS = 10


def choose(
    name: str,
    build: Callable[[], nn.Module],
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
) -> Precision:
    """The precision of that name; ``auto`` measures training steps of a new module on a prepared batch.

    ``inputs`` [b, …] and ``targets`` [b] are a typical batch; models too slow for a few seconds are measured
    on its first samples. Bf16 is chosen where it is at least 1.1 times as fast as fp32 with the threads in
    use, every convolution and dense layer gives what it gives in fp32, and so does the loss. The gradient as
    a whole is no criterion: in a new, deep network with batch norm it is chaotic (Yang et al. 2019,
    https://arxiv.org/abs/1902.08129), and sound rounding turned that of ResNet-50 by 77 degrees.

    Torch's random state is left as it was. Raises UserError for another name.
    """
    if name not in PRECISIONS:
        raise UserError(f"unknown precision '{name}': choose from {', '.join(PRECISIONS)}")
    if name == "fp32":
        return Precision(name="fp32", why="asked for")
    slow = "" if has_bf16(device) else "this processor has no bfloat16 instructions"
    if name == "auto" and slow:
        return Precision(name="fp32", why=f"auto: {slow}")

    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        module = build().to(device)
        channels_last = device.type != "cpu" or not meets_onednn_defect(module)
        if name == "bf16":
            why = f"asked for, though {slow} and will be slow" if slow else "asked for"
            return Precision(name="bf16", why=why, channels_last=channels_last)
        return _Probe(module, inputs.to(device), targets.to(device), loss, channels_last).choose()


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself. Without that, convolutions were 20 times slower."""
    import torch

    if device.type == "cpu":
        supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return supported is not None and bool(supported())
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def meets_onednn_defect(module: nn.Module) -> bool:
    """Whether channels_last would corrupt memory: https://github.com/uxlfoundation/oneDNN/issues/6035.

    There the weight gradient of a strided 1 × 1 convolution with fewer input channels than a vector register
    holds numbers (8 with AVX2, 16 with AVX-512) writes past its buffer: wrong gradients, crashes.
    """
    from torch import nn

    return any(
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.in_channels // layer.groups < 16
        for layer in module.modules()
    )


class _Probe:
    """Training steps of one module in both precisions."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        channels_last: bool,
    ) -> None:
        self.module, self.inputs, self.targets, self.loss = module, inputs, targets, loss
        self.fp32 = Precision(name="fp32", why="")
        self.bf16 = Precision(name="bf16", why="", channels_last=channels_last)
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def choose(self) -> Precision:
        few = min(2, len(self.inputs))
        fp32, bf16 = self.fp32, self.bf16
        self.step(fp32, few)  # an error here is the model's own
        try:
            self.step(bf16, few)
        except RuntimeError as error:  # an operation without a bf16 kernel
            return replace(fp32, why=f"auto: bf16 fails with {str(error).partition(chr(10))[0]}")
        pilot = sum(self.seconds(few, 0.0))
        size = max(few, min(len(self.inputs), int(few * PROBE_SECONDS / pilot / 3)))
        in_fp32, in_bf16 = self.seconds(size, PROBE_SECONDS)
        ratio = in_fp32 / in_bf16
        measured = f"auto: bf16 is {ratio:.2f} times as fast as fp32 ({size} samples a step)"
        if ratio < LEAST_GAIN:
            return replace(fp32, why=measured)
        if disagreement := self.disagreement(size):
            return replace(fp32, why=f"{measured}, but {disagreement}")
        return replace(bf16, why=measured)

    def step(self, precision: Precision, size: int) -> float:
        """Forward and backward on the first samples; the loss."""
        import torch

        inputs, targets = precision.layout(self.inputs[:size]), self.targets[:size]
        with precision.autocast(inputs.device):
            loss = self.loss(self.module(inputs), targets)
        torch.autograd.grad(loss, self.parameters, allow_unused=True)
        if inputs.device.type != "cpu":
            torch.accelerator.synchronize(inputs.device)
        return float(loss.detach())

    def seconds(self, size: int, budget: float) -> list[float]:
        """The least time of a step in each precision; in turns, so that other load falls on both."""
        start = perf_counter()
        least = [inf, inf]
        for repeat in range(1 + PROBE_STEPS):
            if repeat > 2 and perf_counter() - start > budget:
                break
            for mode, precision in enumerate((self.fp32, self.bf16)):
                begin = perf_counter()
                self.step(precision, size)
                if repeat:  # the first step of a shape also prepares the kernels
                    least[mode] = min(least[mode], perf_counter() - begin)
        return least

    def disagreement(self, size: int) -> str:
        """What bf16 computes wrongly, or nothing."""
        import torch
        from torch import nn

        wrong: list[str] = []
        names = {layer: name for name, layer in self.module.named_modules()}

        def compare(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            if not arguments:  # the input came by name
                return
            cotangent = torch.randn_like(output)
            exact = _layer(layer, arguments[0], cotangent, self.fp32)
            rounded = _layer(layer, arguments[0], cotangent, self.bf16)
            for a, b in zip(exact, rounded, strict=True):
                if not (b - a).norm() <= LAYER_TOLERANCE * a.norm():
                    wrong.append(f"layer '{names[layer]}' gives another result")
                    return

        layers = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)]
        hooks = [layer.register_forward_hook(compare) for layer in layers]
        with torch.no_grad():
            self.module(self.bf16.layout(self.inputs[:size]))
        for hook in hooks:
            hook.remove()
        exact, rounded = self.step(self.fp32, size), self.step(self.bf16, size)
        if not abs(rounded - exact) <= LOSS_TOLERANCE * abs(exact):
            wrong.append(f"the loss is {rounded:.4g} and not {exact:.4g}")
        return wrong[0] if wrong else ""


def _layer(layer: nn.Module, inputs: Tensor, cotangent: Tensor, precision: Precision) -> list[Tensor]:
    """A layer's output, and the gradients of its inputs and parameters for an output's gradient."""
    import torch

    inputs = precision.layout(inputs.contiguous()).detach().requires_grad_()
    with torch.enable_grad(), precision.autocast(inputs.device):
        output = layer.forward(inputs)  # not layer(inputs), which would run the hook again
    parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(output, [inputs, *parameters], cotangent.to(output.dtype))
    return [tensor.detach().float() for tensor in (output, *gradients)]

"""Around a fault of oneDNN on CPUs, in the layers that have it and nowhere else."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_BLOCK = 16  # channels, with AVX-512
_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_FUNCTIONS: dict[type[_Convolution], Callable[..., Tensor]] = {
    nn.Conv1d: torch.conv1d,
    nn.Conv2d: torch.conv2d,
    nn.Conv3d: torch.conv3d,
}


@contextmanager
def sound_convolutions(model: nn.Module) -> Generator[None]:
    """Keep a model's convolutions from the kernels of oneDNN that would write outside their buffers.

    torch 2.13's oneDNN does so in the weight gradient of a 1x1 convolution with a stride and fewer input channels than
    one of its blocks (oneDNN issue 6035; crashes seen with 2 to 6 channels, and valgrind names
    `jit_avx2_1x1_convolution_bwd_weights`); what it damages crashes later, or is a gradient. Shortcuts of narrow
    residual networks are such layers.

    Such a layer equals a 1x1 convolution without a stride of every second (third, ...) pixel, and computes that here.
    All others keep oneDNN, without which a network's convolutions may run through a Winograd kernel, with errors of
    2e-3 instead of 1e-6 and in twice the time. Types, parameters, hooks and state dict of the model do not change; a
    deep copy made here keeps computing the same.
    """
    faulty = [module for module in model.modules() if isinstance(module, _Convolution) and _is_faulty(module)]
    plain = [(module, convolve) for module in faulty if (convolve := _function(module)) is not None]
    before = [vars(module).get("_conv_forward") for module, _ in plain]
    for module, convolve in plain:
        vars(module)["_conv_forward"] = partial(_conv_forward, convolve, _settings(module))
    try:
        # A subclass with a forward of its own calls torch's function itself.
        with _Intercepted() if len(plain) < len(faulty) else nullcontext():
            yield
    finally:
        for (module, _), method in zip(plain, before, strict=True):
            if method is None:
                del vars(module)["_conv_forward"]
            else:
                vars(module)["_conv_forward"] = method


def has_unsound_convolutions(model: nn.Module) -> bool:
    """Whether `sound_convolutions` changes how a model computes."""
    return any(isinstance(module, _Convolution) and _is_faulty(module) for module in model.modules())


def _is_faulty(module: _Convolution) -> bool:
    inputs = module.in_channels // module.groups
    return module.weight.device.type == "cpu" and _has_fault(inputs, module.kernel_size, module.stride)


def _has_fault(inputs_per_group: int, kernel: Sequence[int], stride: Sequence[int]) -> bool:
    return max(kernel) == 1 and max(stride) > 1 and inputs_per_group < _BLOCK


def _function(module: _Convolution) -> Callable[..., Tensor] | None:
    """The function of torch that a module calls in its forward; None where that is code of its own."""
    for kind, function in _FUNCTIONS.items():
        inherited = type(module).forward is kind.forward and type(module)._conv_forward is kind._conv_forward  # pyright: ignore[reportPrivateUsage]
        if inherited and "forward" not in vars(module):
            return function
    return None


def _settings(module: _Convolution) -> dict[str, Any]:
    """Settings of its module that the replaced method needs: values only, so that a copy does not hold the original."""
    settings = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
    if module.padding_mode != "zeros":
        settings["border"] = (module._reversed_padding_repeated_twice, module.padding_mode)  # pyright: ignore[reportPrivateUsage]
        settings["padding"] = 0
    return settings


def _conv_forward(
    convolve: Callable[..., Tensor], settings: Mapping[str, Any], inputs: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """A module's own `_conv_forward`, without a stride."""
    rest = dict(settings)
    if "border" in rest:
        widths, mode = rest.pop("border")
        inputs = F.pad(inputs, widths, mode=mode)
    return _every_nth(convolve, inputs, weight, bias, **rest)


def _every_nth(
    convolve: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """A 1x1 convolution with a stride as one without of every n-th pixel; the dilation of one pixel means nothing."""
    axes = weight.ndim - 2
    stride = _each(stride, axes)
    widths = _each(0 if isinstance(padding, str) else padding, axes)  # "same" and "valid" pad one pixel by nothing
    if any(widths):
        # From the last axis to the first, before and behind.
        input = F.pad(input, [width for width in reversed(widths) for _ in range(2)])
    return convolve(input[(..., *(slice(None, None, step) for step in stride))], weight, bias, 1, 0, 1, groups)


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


class _Intercepted(TorchFunctionMode):
    """Within it, convolutions with the fault are computed without a stride, whoever calls torch's function."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in _FUNCTIONS.values():
            weight: Tensor = args[1] if len(args) > 1 else given["weight"]
            stride: int | Sequence[int] = args[3] if len(args) > 3 else given.get("stride", 1)
            inputs_per_group, *kernel = weight.shape[1:]
            if weight.device.type == "cpu" and _has_fault(inputs_per_group, kernel, _each(stride, len(kernel))):
                return _every_nth(func, *args, **given)
        return func(*args, **given)

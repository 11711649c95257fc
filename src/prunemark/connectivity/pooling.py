"""Sums of many elements: pooling, means, reductions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from prunemark.connectivity import algebra, elementwise
from prunemark.connectivity.calls import Call
from prunemark.connectivity.signals import CannotFollowError, Signal, signal


def gather(call: Call) -> Signal:
    """Sums with positive coefficients."""
    source = call.signal(0)
    call.check()
    options = {name: value for name, value in call.kwargs.items() if name != "input"}
    return algebra.gather(source, lambda plane: call.function(plane, *call.args[1:], **options))


def interpolate(call: Call) -> Signal:
    """Elements between those that there are."""
    if call.get(3, "mode") == "bicubic":
        raise CannotFollowError("topology cannot follow bicubic interpolation, whose coefficients change sign")
    return gather(call)


def adaptive_max_pool(call: Call) -> Any:
    """Maxima over windows, of which the size of the result says how large they are."""
    dims = int(call.name.split("pool")[1][0])
    average = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)[dims - 1]
    size = call.get(1, "output_size")
    made = algebra.gather(call.signal(0), lambda plane: average(plane, size))
    return (made, _indices(made)) if _wants_indices(call, 2) else made


def max_pool(call: Call) -> Any:
    """Maxima over windows."""
    dims = int(call.name.split("pool")[1][0])
    kernel = _tuple(call.get(1, "kernel_size"), dims)
    stride = _tuple(call.get(2, "stride") or kernel, dims)
    padding = _tuple(call.get(3, "padding", 0), dims)
    dilation = _tuple(call.get(4, "dilation", 1), dims)
    ceil_mode = call.get(5, "ceil_mode", False)
    source = call.signal(0)
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[dims - 1]
    size = pool(torch.empty(source.shape, device="meta"), kernel, stride, padding, dilation, ceil_mode).shape[-dims:]
    pads: list[int] = []
    for n, k, s, p, d, out in reversed(
        list(zip(source.shape[-dims:], kernel, stride, padding, dilation, size, strict=True))
    ):
        pads += [p, max(0, (out - 1) * s + d * (k - 1) + 1 - n - p)]
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]

    def window_sums(plane: Tensor) -> Tensor:
        # A maximum hands its gradient to one element only; the sum over the window hands it to all.
        padded = functional.pad(plane.reshape(-1, 1, *plane.shape[-dims:]), pads)
        sums = convolve(padded, padded.new_ones(1, 1, *kernel), stride=stride, dilation=dilation)
        return sums.reshape(*source.shape[:-dims], *size)

    made = algebra.gather(source, window_sums, threshold=algebra.INTEGER)
    return (made, _indices(made)) if _wants_indices(call, 6) else made


def _wants_indices(call: Call, position: int) -> bool:
    return "with_indices" in call.name or bool(call.get(position, "return_indices", False))


def _indices(made: Signal) -> Signal:
    """Index of the maximum: it depends on everything that the maximum itself depends on."""
    places = torch.zeros(made.shape, dtype=torch.int64, device=made.device)
    return signal(made.reach, algebra.revive(made).alive, like=places)


def _tuple(value: int | Sequence[int], length: int) -> tuple[int, ...]:
    return (value,) * length if isinstance(value, int) else tuple(value) * (length if len(value) == 1 else 1)


# Where the axis stands among the arguments of a reduction; elsewhere it is the second.
_AXIS_AT = {"norm": 2, "vector_norm": 2, "quantile": 2, "nanquantile": 2}


def total(call: Call) -> Any:
    """A reduction over one axis, several, or all."""
    at = _AXIS_AT.get(call.name, 1)
    dim = call.get(at, "dim", call.kwargs.get("axis"))
    if isinstance(dim, Tensor) or "other" in call.kwargs:
        return elementwise.add(call)
    # In var(dim, unbiased, keepdim) another flag stands before it.
    keepdim = call.get(at + (2 if call.name in ("var", "std") else 1), "keepdim", False)
    source, dims = call.signal(0), None if isinstance(dim, bool) else dim
    if call.name in ("max", "amax", "logsumexp"):
        source = algebra.only(call.ledger, source, algebra.allowed(source, dims))
    made = algebra.total(source, dims, keepdim=bool(keepdim))
    if call.name in ("max", "min", "median", "nanmedian", "mode") and dim is not None:
        return getattr(torch.return_types, call.name)((made, _indices(made)))
    return algebra.revive(made) if call.name == "logsumexp" else made


def multiplied(call: Call) -> Signal:
    """The product over an axis, or over all."""
    source, dim = call.signal(0), call.get(1, "dim", call.kwargs.get("axis"))
    if dim is None:
        return algebra.multiplied(call.ledger, algebra.arrange(source, torch.flatten))
    made = algebra.multiplied(call.ledger, algebra.arrange(source, lambda plane: plane.movedim(dim, -1)))
    return algebra.arrange(made, lambda plane: plane.unsqueeze(dim)) if call.get(2, "keepdim", False) else made

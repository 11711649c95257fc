"""Copies of a model that share nothing with it."""

import copy
import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from prunemark.models.prunable import parameters_by_name, unwrap

_HALF = (torch.float16, torch.bfloat16)


def independent_copy(model: nn.Module, *, weights: Mapping[str, nn.Parameter] | None = None) -> nn.Module:
    """A copy of the user's own module, without compiled blocks: neither gradients nor holds come along.

    Tensors that are computed from parameters (weight norm, `torch.nn.utils.prune`) are copied by value; what
    computes them before each forward pass does so from the copy's parameters.

    Args:
        model: any module.
        weights: parameters that the copy has instead of the model's own of these names.

    Raises:
        ValueError: the model holds something that cannot be copied.
    """
    inner = unwrap(model)
    # `deepcopy` refuses tensors with a history, unless it is told that it has copied them already.
    copied = {id(tensor): tensor.detach().clone() for tensor in _computed_tensors(inner)}
    if weights:
        by_name = parameters_by_name(inner)
        copied |= {id(by_name[name]): weight for name, weight in weights.items()}
    try:
        duplicate = copy.deepcopy(inner, copied)
    except Exception as error:
        raise ValueError(
            f"this {type(inner).__name__} cannot be copied, and only a copy is ever worked on: "
            f"{type(error).__name__}: {error}"
        ) from error
    for module in duplicate.modules():
        for name, child in module.named_children():
            # Compiled code has no second derivative.
            if isinstance(plain := getattr(child, "_orig_mod", None), nn.Module):
                setattr(module, name, plain)
    return duplicate


def to_single_precision_(model: nn.Module) -> bool:
    """Turn half-precision parameters and buffers into float32, which is exact; whether there were any."""
    half = [tensor for tensor in itertools.chain(model.parameters(), model.buffers()) if tensor.dtype in _HALF]
    for tensor in half:
        tensor.data = tensor.data.float()
    return bool(half)


def at_least_single(tensor: Tensor) -> Tensor:
    """The tensor, in float32 if it is in half precision."""
    return tensor.float() if tensor.dtype in _HALF else tensor


def _computed_tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        for value in vars(module).values():
            items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else (value,)
            yield from (item for item in items if isinstance(item, Tensor) and not item.is_leaf)

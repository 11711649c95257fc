"""A call of a model: types of its inputs, batches, forward and loss, and what inputs of any structure need."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Any  # a tensor, a tuple (given as model(*inputs)) or a dict (given as model(**inputs))
Batch = tuple[Inputs, Any]
Loss = Callable[[Any, Any], Tensor]
Forward = Callable[[nn.Module, Inputs], Any]

TARGETS = ("labels", "label", "targets")
"""What a batch that is a mapping calls its targets; the rest are the inputs, given by name."""


def call(model: nn.Module, inputs: Inputs) -> Any:
    """model(inputs), model(*inputs) for a tuple or list, model(**inputs) for a mapping."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def on_copies(forward: Forward) -> Forward:
    """The same forward on copies of its inputs: a model may write into them, as `nn.LeakyReLU(inplace=True)` does."""

    def copying(model: nn.Module, inputs: Inputs) -> Any:
        return forward(model, map_tensors(torch.clone, inputs))

    return copying


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """The value with each tensor in it replaced; mappings become dicts, and lists tuples."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map_tensors(function, item) for item in value)
    return value

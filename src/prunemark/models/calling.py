"""Types of a call of a model: its inputs, batches, forward and loss."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

Inputs = Any  # a tensor, a tuple (given as model(*inputs)) or a dict (given as model(**inputs))
Batch = tuple[Inputs, Any]
Loss = Callable[[Any, Any], Tensor]
Forward = Callable[[nn.Module, Inputs], Any]


def call(model: nn.Module, inputs: Inputs) -> Any:
    """model(inputs), model(*inputs) for a tuple or list, model(**inputs) for a mapping."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)

"""Networks of the user's own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from prunemark.models.initialization import Initializable
from prunemark.randomness import derive, generator


def own_network(
    build: Callable[..., Any], name: str, *, input_shape: tuple[int, ...], classes: int, seed: int, **options: Any
) -> nn.Module:
    """What `build(input_shape=, classes=, **options)` returns, drawn for one replicate.

    torch's global generator is seeded for it and put back afterwards. A model with `initialize_` then draws itself.

    Raises:
        ValueError: it is no module; the message begins with `name`.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "weights"))
        model = build(input_shape=input_shape, classes=classes, **options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must return a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, Initializable):
        model.initialize_(generator(seed, "weights"))
    return model

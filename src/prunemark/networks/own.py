"""Networks of the user's own."""

from typing import Any

import torch
from torch import nn

from prunemark.models.initialization import Initializable
from prunemark.own_code import OwnCode, short_name
from prunemark.randomness import derive, generator


def own_network(code: OwnCode, *, input_shape: tuple[int, ...], classes: int, seed: int, **options: Any) -> nn.Module:
    """The network that the user's `build(input_shape=, classes=, **options)` returns, drawn for one replicate.

    torch's global generator is seeded for it and put back afterwards. A model with `initialize_` then draws itself.

    Raises:
        ValueError: the file fails to import, or what it returns is no module.
    """
    build = code.load()
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "weights"))
        model = build(input_shape=input_shape, classes=classes, **options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{short_name(code.reference)} must return a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, Initializable):
        model.initialize_(generator(seed, "weights"))
    return model

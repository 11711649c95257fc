"""Networks of the user's own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from prunemark.models.initialization import Initializable
from prunemark.models.isolation import isolated
from prunemark.own_code import OwnCode, short_name
from prunemark.randomness import derive, generator

_CPU = torch.device("cpu")
_SOUND: set[tuple[OwnCode, str]] = set()
"""What this process has found to draw its weights from the seed, and the options it was called with."""


def own_network(code: OwnCode, *, input_shape: tuple[int, ...], classes: int, seed: int, **options: Any) -> nn.Module:
    """The network that the user's `build(input_shape=, classes=, **options)` returns, drawn for one replicate.

    The generators of torch, NumPy and Python are seeded for it and put back afterwards. A model with `initialize_` then
    draws itself. The first time in a process `build` is called twice more, to see that each call returns a module of
    its own, that one seed gives one network, and that two seeds give different weights (unless `build.fixed_weights` is
    true, as it should be of a trained model).

    Raises:
        ValueError: the file fails to import; what it returns is not a module, or the same one each time; its weights do
            not come from the seed, or are the same for every seed.
    """
    with isolated(0, "import", device=_CPU):  # weights that are drawn there are at least the same in every process
        build = code.load()
    name = short_name(code.reference)

    def draw(seed: int) -> nn.Module:
        return _drawn(build, name, seed, input_shape=input_shape, classes=classes, **options)

    model = draw(seed)
    called = (code, repr((input_shape, classes, sorted(options.items()))))
    if called not in _SOUND:
        _require_sound(model, draw, name, seed, fixed=bool(getattr(build, "fixed_weights", False)))
        _SOUND.add(called)
    return model


def _drawn(build: Callable[..., Any], name: str, seed: int, **arguments: Any) -> nn.Module:
    with isolated(seed, "weights", device=_CPU):
        torch.manual_seed(derive(seed, "weights"))  # of accelerators, too
        model = build(**arguments)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must return a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, Initializable):
        model.initialize_(generator(seed, "weights"))
    return model


def _require_sound(model: nn.Module, draw: Callable[[int], nn.Module], name: str, seed: int, *, fixed: bool) -> None:
    again = draw(seed)
    if again is model:
        raise ValueError(f"{name} returns the same module each time it is called; build a new one in it")
    if not _same_weights(model, again):
        raise ValueError(
            f"{name} returns other weights each time it is called with the same seed; draw them from the generators of "
            "torch, NumPy or Python, which are seeded before each call"
        )
    if not fixed and _same_weights(model, draw(seed + 1)):
        raise ValueError(
            f"{name} returns the same weights for every seed, so replicates would share them; draw them in it, or set "
            f"{name.rpartition(':')[2]}.fixed_weights = True if they are meant to be fixed, as those of a trained model"
        )


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    """True if two modules have the same parameters and buffers, NaN equal to NaN."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        tensor.shape == second[name].shape and torch.allclose(tensor, second[name], rtol=0, atol=0, equal_nan=True)
        for name, tensor in first.items()
        if isinstance(tensor, torch.Tensor)  # extra state may be anything
    )

"""Reinitialise: fresh weights from the same distribution."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from prunemark.ablations.certificates import Certificate, certify_reinit
from prunemark.models.copies import independent_copy
from prunemark.models.initialization import Initializable, other_distribution, reset_
from prunemark.models.isolation import isolated
from prunemark.randomness import generator

Build = Callable[[], nn.Module]
"""Builds the network again, with other random numbers each time that its surroundings are seeded otherwise."""


def reinitialize(model: nn.Module, *, seed: int, build: Callable[[], Any] | None = None) -> nn.Module:
    """A copy of the model whose whole state is drawn afresh from the same initialisation.

    A model with a method `initialize_(generator)`, as prunemark's own networks have, draws itself. Any other model is
    what `build` returns, called once more. Without `build`, modules are drawn by their `reset_parameters`, inner ones
    first, as their constructors do, but only if the model's present weights are what that draws: a network whose
    constructor initialises it otherwise, or a trained one, is refused and not guessed at. All randomness, NumPy's
    included, is drawn from the seed; the mode (train or eval), devices, precisions and what is frozen are the model's.

    Args:
        model: any module; it is not changed.
        seed: fixes every random choice.
        build: a function without arguments that builds the model as it was built, such as `lambda: Net(10)`. It is
            called twice, to see that what it draws follows from the seed.

    Raises:
        ValueError: the distribution of the model's initialisation is not known: pass `build`; `build` returns another
            network, the same module each time, or the same weights for two seeds; or the model cannot be copied.
        CertificateError: a prunable weight tensor came out as it was.

    Reference: Frankle et al. 2021 (arXiv 2009.08576), section 5.

    Examples:
        >>> fresh = pm.reinitialize(model, seed=1)
        >>> torch.equal(fresh[1].weight, model[1].weight)
        False
    """
    if build is not None:
        _require_seeded(model, seed, build)
    fresh = _fresh(model, seed, build)
    certify_reinit(model, fresh)
    return fresh


def redraw_everything(
    model: nn.Module, *, seed: int, build: Build | None, initial: nn.Module
) -> tuple[nn.Module, Certificate]:
    """`reinitialize` for a study: certified to be of the distribution of the network's initial weights."""
    fresh = _fresh(model, seed, build)
    return fresh, certify_reinit(model, fresh, initial=initial)


def _fresh(model: nn.Module, seed: int, build: Callable[[], Any] | None) -> nn.Module:
    device = _device(model)
    if build is not None:
        with isolated(seed, "reinit", device=device):
            built = build()
        return _as_built(model, built)
    fresh = independent_copy(model)
    if isinstance(fresh, Initializable):
        fresh.initialize_(generator(seed, "reinit"))
        return fresh
    way_out = "pass build=, a function that builds the network again, or give the model initialize_(generator)"
    with isolated(seed, "reinit", device=device):
        try:
            reset_(fresh)
        except ValueError as error:
            raise ValueError(f"{error}: {way_out}") from None
    if found := other_distribution(dict(model.named_parameters()), dict(fresh.named_parameters())):
        raise ValueError(
            f"the model's weights are not what reset_parameters() draws ({found}), so how they were initialised is not "
            f"known: {way_out}"
        )
    return fresh


def _require_seeded(model: nn.Module, seed: int, build: Build) -> None:
    """Raise ValueError if `build` returns one module again and again, or draws the same whatever the seed."""
    built: list[Any] = []
    for purpose in ("reinit", "reinit with another seed"):
        with isolated(seed, purpose, device=_device(model)):
            built.append(build())
    if not all(isinstance(one, nn.Module) for one in built):
        return  # said when it is used
    if built[0] is built[1]:
        raise ValueError("build= returns the same module each time it is called: build a new one in it")
    one, other = (dict(each.named_parameters()) for each in built)
    if one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items()):
        raise ValueError(
            "build= returns the same weights whatever the seed: leave it to seed= to seed the generators of torch, "
            "NumPy and Python, and draw the weights from these"
        )


def _as_built(model: nn.Module, built: Any) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise ValueError(f"build= must return a torch.nn.Module, not {type(built).__name__}")
    if built is model:
        raise ValueError("build= must build the network again; it returned the model itself")
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    new = {name: tuple(value.shape) for name, value in built.state_dict().items()}
    if own != new:
        differing = sorted(name for name in own.keys() | new.keys() if own.get(name) != new.get(name))
        raise ValueError(f"build= returned another network: {len(differing)} tensors differ, such as {differing[0]}")
    theirs = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in (*built.named_parameters(), *built.named_buffers()):
        if (like := theirs.get(name)) is not None:
            tensor.data = tensor.data.to(like.device, like.dtype)
            if isinstance(like, nn.Parameter):
                tensor.requires_grad_(like.requires_grad)
    return built.train(model.training)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters(), torch.empty(0)).device

"""The optimizers that a hold follows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

_NAMED = 5  # names in a message before "and N more"


def followed(optimizers: Sequence[Any]) -> list[torch.optim.Optimizer]:
    """The optimizers whose steps can be followed: those given, and those inside them (`.optimizer`, as accelerate has).

    A wrapper that is a whole torch optimizer itself is followed too, because it may write weights after the step of
    the one inside.

    Raises:
        ValueError: none is given, or one neither is nor wraps a torch optimizer.
    """
    if not optimizers:
        raise ValueError("hold needs the optimizer whose steps it should follow: masks.hold(model, optimizer)")
    found: dict[int, torch.optim.Optimizer] = {}
    for given in optimizers:
        chain = [one for one in _chain(given) if _has_hooks(one)]
        if not chain:
            kind = type(given).__name__
            if isinstance(given, torch.optim.Optimizer):
                raise ValueError(
                    f"hold cannot follow the steps of this {kind}: it never called torch.optim.Optimizer.__init__ and "
                    "has no `.optimizer` inside; pass the optimizer that it steps"
                )
            raise ValueError(f"hold takes torch optimizers, not {kind}")
        found |= {id(one): one for one in chain}
    return list(found.values())


def require_stepped(
    weights: Mapping[str, nn.Parameter], optimizers: Sequence[torch.optim.Optimizer], *, allow_unstepped: bool
) -> None:
    """Check that these optimizers step every masked weight that is trained.

    Raises:
        ValueError: they step none of them; or, unless `allow_unstepped`, not all of them (their names).
    """
    stepped = {id(weight) for one in optimizers for group in one.param_groups for weight in group["params"]}
    trained = {name for name, weight in weights.items() if weight.requires_grad}
    if trained and not any(id(weight) in stepped for weight in weights.values()):
        raise ValueError("no masked weight is among the optimizer's parameters: it was made for another model")
    missing = [name for name, weight in weights.items() if name in trained and id(weight) not in stepped]
    if missing and not allow_unstepped:
        raise ValueError(
            f"no given optimizer steps {_listed(missing)}: if another one does, its steps would revive pruned "
            "weights, so pass it too (masks.hold(model, first, second)); if none does, freeze them "
            "(requires_grad_(False)) or say allow_unstepped=True"
        )


def _chain(optimizer: Any) -> list[Any]:
    chain: list[Any] = []
    while _steps(optimizer) and not any(optimizer is one for one in chain):
        chain.append(optimizer)
        optimizer = getattr(optimizer, "optimizer", None)
    return chain


def _steps(candidate: Any) -> bool:
    # A scheduler has an `.optimizer` and a `step` as well, but no groups.
    return isinstance(candidate, torch.optim.Optimizer) or (
        callable(getattr(candidate, "step", None)) and hasattr(candidate, "param_groups")
    )


def _has_hooks(optimizer: Any) -> bool:
    # A subclass that only wraps need not have called the constructor that makes the hooks.
    return isinstance(optimizer, torch.optim.Optimizer) and "_optimizer_step_post_hooks" in vars(optimizer)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")

"""Scoring code that was written for other programs, called as it expects to be.

Two kinds are recognised by their parameters' names: a function `score(model, loader, loss)`, and a class as in
ganguli-lab/Synaptic-Flow (Tanaka et al. 2020), `Pruner(masked_parameters)` with a method
`score(model, loss, dataloader, device)`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prunemark.methods.base import Problem

_MODEL = {"model", "net", "network"}
_LOADER = {"loader", "dataloader", "data_loader", "train_loader", "batches"}
_LOSS = {"loss", "loss_fn", "loss_function", "criterion"}
_DEVICE = {"device"}
_MASKED = "masked_parameters"
_RECIPE = 'see docs/own-method.md, "Code of another program"'


def bridged(target: Any) -> Any:
    """The same, or a function of a `Problem` that calls scoring code of another signature.

    A class that takes `masked_parameters` is given a float mask and the weight of each prunable parameter, and its
    `score` the copy of the model in eval mode, as Synaptic-Flow's program does; scores are read from its `scores` by
    the weights' ids. A function of a model, a loader of (inputs, targets) and a loss, in any order and named so, is
    given the copy in train mode; it returns scores by the weights' names, or in their order.
    """
    if isinstance(target, type):
        return (
            _of_class(target) if _MASKED in _parameters(target) and callable(getattr(target, "score", None)) else target
        )
    names = _parameters(target)
    roles = _roles(names)
    if roles.get("model") is None or not {"loader", "loss"} & roles.keys():
        return target
    return _of_function(target, roles)


def _parameters(target: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return []


def _roles(names: Sequence[str]) -> dict[str, str]:
    """Role -> the name of the parameter that has it."""
    kinds = {"model": _MODEL, "loader": _LOADER, "loss": _LOSS, "device": _DEVICE}
    return {role: name for role, known in kinds.items() for name in names if name in known}


def _of_function(function: Callable[..., Any], roles: Mapping[str, str]) -> Callable[..., Mapping[str, Tensor]]:
    name = getattr(function, "__name__", type(function).__name__)

    def score(problem: Problem, /, **options: Any) -> Mapping[str, Tensor]:
        found = function(**{roles[role]: value for role, value in _given(problem).items() if role in roles}, **options)
        if isinstance(found, Mapping):
            return found
        if isinstance(found, list | tuple) and len(found) == len(problem.weights):
            return dict(zip(problem.weights, found, strict=True))
        raise ValueError(
            f"{name} must return a score for each of the {len(problem.weights)} prunable weights, by their names or in "
            f"their order, not {type(found).__name__}; {_RECIPE}"
        )

    score.__name__ = name
    return score


def _of_class(kind: type) -> Callable[..., Mapping[str, Tensor]]:
    roles = _roles(_parameters(kind.score))

    def score(problem: Problem, /, **options: Any) -> Mapping[str, Tensor]:
        masked = [(problem.masks[name].to(weight.dtype), weight) for name, weight in problem.weights.items()]
        pruner = kind(masked, **options)
        problem.model.eval()
        given = {roles[role]: value for role, value in _given(problem).items() if role in roles}
        try:
            pruner.score(**given)
        except (AttributeError, TypeError) as error:
            if any(mask.requires_grad and mask.grad is None for mask, _ in masked):
                raise ValueError(
                    f"{kind.__name__}.score reads the gradient of masks, which only the layers of its own program "
                    f"multiply weights by: write p.grad * p in place of m.grad; {_RECIPE}"
                ) from error
            raise
        scores: Mapping[int, Tensor] = pruner.scores
        if missing := [name for name, weight in problem.weights.items() if id(weight) not in scores]:
            raise ValueError(f"{kind.__name__}.score gave {missing[0]} no score: scores[id(weight)]; {_RECIPE}")
        return {name: scores[id(weight)].detach() for name, weight in problem.weights.items()}

    score.__name__ = kind.__name__
    return score


def _given(problem: Problem) -> dict[str, Any]:
    weight = next(iter(problem.weights.values()))
    return {
        "model": problem.model,
        "loader": problem.batches,
        "loss": problem.loss,
        "device": torch.device(weight.device),
    }

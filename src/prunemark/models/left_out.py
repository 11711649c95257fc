"""Tensors of a model that are not prunable, though they have the shape of a weight matrix."""

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from prunemark.models.prunable import (
    SelectionRules,
    matrices,
    module_of,
    parameters_by_name,
    plain_name,
    prunable,
    unwrap,
)

_NAMED = 3  # layers in a message before "and N more"


class LeftOutWarning(UserWarning):
    """More weights are left out of pruning than are prunable."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A parameter with two or more axes that is neither prunable nor a normalisation's nor an embedding's."""

    name: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of its weights."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name} ({'x'.join(map(str, self.shape))})"


def left_out(model: nn.Module, names: Collection[str]) -> tuple[LeftOut, ...]:
    """The parameters left out of a model whose prunable weights have these names.

    Parameters of `nn.Embedding` and `nn.EmbeddingBag` count as embeddings, and only those: a position embedding that a
    model holds as a bare parameter is listed.
    """
    inner = unwrap(model)
    parameters = parameters_by_name(inner)
    seen = {id(parameters[name]) for name in names}
    embeddings = [module for module in inner.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    seen |= {id(parameter) for module in embeddings for parameter in module.parameters(recurse=False)}
    found: list[LeftOut] = []
    for path, module in inner.named_modules():
        for attribute in matrices(module):
            parameter = module.get_parameter(attribute)
            if id(parameter) not in seen:
                seen.add(id(parameter))
                name = plain_name(f"{path}.{attribute}" if path else attribute)
                found.append(LeftOut(name=name, shape=tuple(parameter.shape)))
    return tuple(found)


def parameter_count(model: nn.Module) -> int:
    """Number of all parameters of a model, each tensor once: prunable weights, biases, normalisations, embeddings."""
    return sum(parameter.numel() for parameter in unwrap(model).parameters())


def prunable_share(model: nn.Module) -> float:
    """Fraction of all parameters that is prunable, in (0, 1].

    Raises:
        ValueError: nothing is.
    """
    return sum(weight.numel() for weight in prunable(model).values()) / parameter_count(model)


def share_record(model: nn.Module, names: Collection[str]) -> dict[str, Any]:
    """Record of the rest of the model for masks of these weights: entries `parameters`, `left_out` of a provenance."""
    return {
        "parameters": parameter_count(model),
        "left_out": {each.name: list(each.shape) for each in left_out(model, names)},
    }


def share_words(total: int, parameters: int) -> str:
    """Prunable share of a model, as a sentence without a full stop."""
    return f"{100 * total / parameters:.3g} % of all {parameters:,} parameters are prunable"


def named(layers: Collection[LeftOut]) -> str:
    """The first of these layers with their shapes, and how many more there are."""
    most = sorted(layers, key=lambda each: -each.count)[:_NAMED]
    more = len(layers) - len(most)
    return ", ".join(map(str, most)) + (f" and {more:,} more" if more else "")


def warn_of_left_out(model: nn.Module, weights: Mapping[str, nn.Parameter], exclude: SelectionRules | None) -> None:
    """Warn if what the default rule leaves out outweighs the prunable weights; what `exclude` selects was wanted so."""
    total = sum(weight.numel() for weight in weights.values())
    layers = left_out(model, weights)
    if sum(each.count for each in layers) <= total:
        return
    if exclude is not None:
        wanted = prunable(model, include="*", exclude=exclude)
        layers = [each for each in layers if each.name in wanted]
    count = sum(each.count for each in layers)
    if count > total:
        kinds = {type(module_of(model, name)[0]).__name__ for name in (*weights, *(each.name for each in layers))}
        warnings.warn(
            f"{count:,} weights are left out, and only {total:,} are pruned: {named(layers)} belong to no layer that "
            f"is known to be a linear map. To prune them too, pass include=[{', '.join(sorted(kinds))}], the types of "
            "all layers to be pruned",
            LeftOutWarning,
            stacklevel=3,
        )

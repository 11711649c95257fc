"""Redrawing a model's parameters its own way, and a check that weights look drawn that way."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

LEVEL = 1e-6
"""Of the tests of one distribution against another: how often equal distributions are called different."""

_SAMPLE = 65_536  # entries of a tensor that are compared
_Sample = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]


@runtime_checkable
class Initializable(Protocol):
    """A model that can draw itself afresh from the distribution it was drawn from."""

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw every parameter anew and reset every buffer, in place."""
        ...


def reset_(model: nn.Module) -> None:
    """Draw every parameter with its module's `reset_parameters`, in place, inner modules first, as constructors do.

    Raises:
        ValueError: a module has parameters of its own but no such method, so its distribution is not known.
    """
    with torch.no_grad():
        for name, module in reversed(list(model.named_modules())):
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if reset is not None:
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise ValueError(
                    f"{name or 'the model'} ({type(module).__name__}) has parameters but no reset_parameters(), so how "
                    "it was initialised is not known"
                )


def other_distribution(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str:
    """Name of a tensor that two draws took from different distributions, in words; empty if no tensor shows it.

    Constants must be equal exactly. Other tensors are compared by the two-sample test of Kolmogorov and Smirnov at
    1e-6, each by itself and, since small ones tell little, all together: less the mean of each pair and in units of its
    standard deviation, their values and their distances from the mean. Of a large tensor, 65,536 entries at even
    distances are compared.

    Args:
        first: name -> values.
        second: the same names and shapes.
    """
    pooled: list[tuple[_Sample, _Sample]] = []
    for name, one in first.items():
        a, b = _sample(one), _sample(second[name])
        if a.size == 0 or (a.size == 1 and a[0] != b[0]):
            continue  # one number says nothing of its distribution
        if a.min() == a.max() or b.min() == b.max():
            if not np.array_equal(a, b):
                return f"{name}: {_spread(a)} against {_spread(b)}"
            continue
        if _differ(a, b):
            return f"{name}: {_spread(a)} against {_spread(b)}"
        both = np.concatenate([a, b])
        pooled.append(((a - both.mean()) / both.std(), (b - both.mean()) / both.std()))
    if len(pooled) > 1:
        one, other = (np.concatenate(side) for side in zip(*pooled, strict=True))
        if _differ(one, other) or _differ(abs(one), abs(other)):
            return f"{len(pooled)} tensors together, none by itself"
    return ""


def _differ(one: _Sample, other: _Sample) -> bool:
    from scipy import stats

    found: Any = stats.ks_2samp(one, other)
    return float(found.pvalue) < LEVEL


def _sample(values: Tensor) -> _Sample:
    flat = values.detach().flatten()
    step = -(-flat.numel() // _SAMPLE)
    return flat[:: max(step, 1)].double().cpu().numpy()


def _spread(values: _Sample) -> str:
    if values.min() == values.max():
        return f"all {values[0]:g}"
    return f"mean {values.mean():.3g}, standard deviation {values.std():.3g}"

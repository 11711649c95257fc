"""Redraw signs or magnitudes: which half of the weights matters?

Reference: Gadhikar and Burkholz 2024 (arXiv 2402.19262), who find that early pruning fails to learn the signs that
sparse training needs.
"""

import torch
from torch import nn

from prunemark.ablations.certificates import Certificate, certify_redraw
from prunemark.ablations.reinit import Build, redraw_everything
from prunemark.models.copies import independent_copy
from prunemark.models.prunable import prunable


def redraw_magnitudes(
    model: nn.Module, *, seed: int, build: Build | None, initial: nn.Module
) -> tuple[nn.Module, Certificate]:
    """A copy of the model whose prunable weights are sign(w) |w'|, with w' drawn afresh; all else is as it was."""
    return _redraw("redraw-magnitudes", model, seed, build, initial)


def redraw_signs(
    model: nn.Module, *, seed: int, build: Build | None, initial: nn.Module
) -> tuple[nn.Module, Certificate]:
    """A copy of the model whose prunable weights are sign(w') |w|, with w' drawn afresh; all else is as it was."""
    return _redraw("redraw-signs", model, seed, build, initial)


def _redraw(
    ablation: str, model: nn.Module, seed: int, build: Build | None, initial: nn.Module
) -> tuple[nn.Module, Certificate]:
    drawn, _ = redraw_everything(model, seed=seed, build=build, initial=initial)
    result = independent_copy(model)
    fresh, own = prunable(drawn), prunable(result)
    with torch.no_grad():
        for name, weight in own.items():
            pair = (fresh[name].abs(), weight) if ablation == "redraw-magnitudes" else (weight.abs(), fresh[name])
            weight.copy_(torch.copysign(*pair))
    return result, certify_redraw(ablation, model, result, drawn)

"""Scores -> `Masks` at an exact count."""

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from prunemark.masks import Masks


def keep_count(total: int, sparsity: float) -> int:
    """How many of `total` weights a sparsity keeps: round((1 - sparsity) * total), to even at a half.

    Raises:
        ValueError: the sparsity is not in [0, 1).
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity is the pruned fraction, in [0, 1); got {sparsity!r}")
    return round((1 - sparsity) * total)


def select(
    scores: Mapping[str, Tensor],
    *,
    sparsity: float,
    invert: bool = False,
    within: Masks | None = None,
    quotas: Mapping[str, int] | None = None,
) -> Masks:
    """Keep exactly round((1 - sparsity) * prunable) weights: those with the largest scores.

    Weights are ranked by score, then by position (layer by layer, row by row; earlier ranks higher), so
    ties are settled the same way every time and the count is exact. A layer may lose every weight.

    Args:
        scores: one tensor per prunable weight tensor, larger = keep.
        sparsity: pruned fraction of all weights in `scores`, in [0, 1).
        invert: reverse the ranking: keep the weights that rank last.
        within: only weights that these masks keep are ranked; no other weight comes back.
        quotas: how many weights to keep in each layer; ranks are then compared within a layer only. They
            must add up to the exact count.

    Raises:
        ValueError: a score that is not finite (the layer is named), a sparsity outside [0, 1), more weights
            asked for than survive, or quotas that do not fit the layers or the count.
    """
    keep = keep_count(sum(score.numel() for score in scores.values()), sparsity)
    return select_count(scores, keep, invert=invert, within=within, quotas=quotas)


def select_count(
    scores: Mapping[str, Tensor],
    keep: int,
    *,
    invert: bool = False,
    within: Masks | None = None,
    quotas: Mapping[str, int] | None = None,
) -> Masks:
    """As `select`, for a number of weights to keep instead of a sparsity."""
    require_finite(scores)
    survivors = within if within is not None else Masks.ones(scores)
    if quotas is None:
        return _keep_best(scores, survivors, keep, invert=invert)
    if sum(quotas.values()) != keep or quotas.keys() != scores.keys():
        raise ValueError(
            f"quotas keep {sum(quotas.values()):,} weights of {len(quotas)} layers; asked for are {keep:,} weights "
            f"of {len(scores)} layers"
        )
    chosen: dict[str, Tensor] = {}
    for name, score in scores.items():
        layer = Masks({name: survivors[name]})
        chosen |= _keep_best({name: score}, layer, quotas[name], invert=invert)
    return Masks(chosen)


def require_finite(scores: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that names the first layer with a score that is infinite or not a number."""
    for name, score in scores.items():
        bad = score.numel() - int(torch.isfinite(score).sum())
        if bad:
            raise ValueError(f"scores of {name} are not finite ({bad:,} of {score.numel():,} weights)")


def _keep_best(scores: Mapping[str, Tensor], survivors: Masks, keep: int, *, invert: bool) -> Masks:
    candidates = survivors.kept
    if keep > candidates:
        layers = ", ".join(scores) if len(scores) == 1 else f"{len(scores)} layers"
        raise ValueError(f"cannot keep {keep:,} weights of {layers}: only {candidates:,} survive")
    if keep == candidates:
        return Masks({name: survivors[name].clone() for name in scores})
    if invert:
        # The inverted choice is what the plain ranking would prune at the complementary count: exact, ties included.
        best = _keep_best(scores, survivors, candidates - keep, invert=False)
        return Masks({name: survivors[name] & ~best[name] for name in scores})
    if keep == 0:
        return Masks({name: torch.zeros_like(survivors[name]) for name in scores})
    dtype = reduce(torch.promote_types, (score.dtype for score in scores.values()), torch.float32)
    threshold = _kth_largest([_ranked(score, survivors[name], dtype) for name, score in scores.items()], keep)
    chosen = {name: _ranked(score, survivors[name], dtype) > threshold for name, score in scores.items()}
    missing = keep - sum(int(mask.sum()) for mask in chosen.values())
    for name, score in scores.items():
        if not missing:
            break
        ties = (_ranked(score, survivors[name], dtype) == threshold).flatten().nonzero().squeeze(1)[:missing]
        chosen[name].view(-1)[ties] = True
        missing -= len(ties)
    return Masks(chosen)


def _ranked(score: Tensor, survivor: Tensor, dtype: torch.dtype) -> Tensor:
    """Scores in the common dtype, contiguous, with pruned weights behind all others."""
    return torch.where(survivor, score.to(dtype), -torch.inf).contiguous()


def _kth_largest(pieces: list[Tensor], k: int) -> float:
    """The k-th largest of all values, by partial selection: nothing is sorted."""
    values = torch.cat([piece.flatten() for piece in pieces])
    index = len(values) - k
    if values.device.type == "cpu":
        array = values.numpy()
        array.partition(index)  # in place, and several times faster than kthvalue
        return float(array[index])
    return float(values.kthvalue(index + 1).values)

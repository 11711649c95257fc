"""Scores -> `Masks` at an exact count."""

from collections.abc import Iterator, Mapping
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from prunemark.masks import Masks
from prunemark.randomness import generator

_SAMPLE = 65_536  # scores, from which the threshold is guessed
_PIECE = 262_144  # scores
_LARGE_INTEGERS = (torch.int32, torch.int64, torch.uint32, torch.uint64)
_EXACT = 2.0**53  # up to here float64 holds every whole number


def keep_count(total: int, sparsity: float) -> int:
    """Number of `total` weights that a sparsity keeps: round((1 - sparsity) * total), to even at a half.

    Raises:
        ValueError: the sparsity is not in [0, 1).
    """
    if not isinstance(sparsity, int | float | np.number) or not 0 <= sparsity < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
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
        ValueError: a score that is no real, finite number (the layer is named), a sparsity outside [0, 1), more weights
            asked for than survive, or quotas that do not fit the layers or the count.
    """
    for name, score in scores.items():
        if not isinstance(score, Tensor) or score.is_complex():  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = score.dtype if isinstance(score, Tensor) else type(score).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"scores of {name} must be a tensor of real numbers, not {kind}")
    keep = keep_count(sum(score.numel() for score in scores.values()), sparsity)
    require_finite(scores)
    return select_count(scores, keep, invert=invert, within=within, quotas=quotas)


def select_count(
    scores: Mapping[str, Tensor],
    keep: int,
    *,
    invert: bool = False,
    within: Masks | None = None,
    quotas: Mapping[str, int] | None = None,
) -> Masks:
    """`select` with a number of weights to keep instead of a sparsity, for scores that are known to be finite."""
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
    """Raise a ValueError that names the first layer with a score that is infinite, not a number, or too large."""
    for name, score in scores.items():
        if score.dtype in _LARGE_INTEGERS and score.numel() and score.double().abs().max() >= _EXACT:
            raise ValueError(f"scores of {name} hold whole numbers beyond 2^53, which float64 does not tell apart")
        # The sum takes a fraction of the time, and is finite only if all terms are; finite terms may still overflow.
        if not score.sum().isfinite():
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
    threshold = _kth_largest(scores, survivors, keep)
    chosen: dict[str, Tensor] = {}
    for name, score, survivor in _comparable(scores, survivors):
        chosen[name] = (score > threshold).logical_and_(survivor)
    missing = keep - sum(_count(mask) for mask in chosen.values())
    for name, score, survivor in _comparable(scores, survivors):
        if not missing:
            break
        ties = (score == threshold).logical_and_(survivor).flatten().nonzero().squeeze(1)[:missing]
        chosen[name].view(-1)[ties] = True
        missing -= len(ties)
    return Masks(chosen)


def _comparable(scores: Mapping[str, Tensor], survivors: Masks) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each layer's name, scores and survivors: scores in one dtype, so that no comparison rounds, and contiguous."""
    # Whole numbers are exact in float64 up to 2^53, in float32 up to 2^24 only.
    wide = (torch.float64 if score.dtype in _LARGE_INTEGERS else score.dtype for score in scores.values())
    dtype = reduce(torch.promote_types, wide, torch.float32)
    for name, score in scores.items():
        yield name, score.to(dtype).contiguous(), survivors[name]


def _kth_largest(scores: Mapping[str, Tensor], survivors: Masks, k: int) -> float:
    """The k-th largest score of the survivors: nothing is sorted, and only scores near it are copied.

    The two scores between which a sample expects it are compared with all: those above are counted, those between them
    partitioned. Where the sample was wrong, all are.
    """
    for low, high in (_bracket(scores, survivors, k), (-torch.inf, torch.inf)):
        above, between = 0, list[Tensor]()
        for _, score, survivor in _comparable(scores, survivors):
            # In pieces that the processor's cache holds, since each is read twice.
            for piece, alive in zip(score.view(-1).split(_PIECE), survivor.flatten().split(_PIECE), strict=True):
                inside = (piece >= low).logical_and_(alive)
                over = (piece > high).logical_and_(alive)
                above += _count(over)
                between.append(_picked(piece, inside.logical_xor_(over)))
        if above < k <= above + sum(map(len, between)):
            return _kth_of(between, k - above)
    raise AssertionError(f"fewer than {k} finite scores")


def _bracket(scores: Mapping[str, Tensor], survivors: Masks, k: int) -> tuple[float, float]:
    """Two scores that bracket the k-th largest, five standard deviations of a sample's rank to either side."""
    total = survivors.total
    if total <= _SAMPLE:
        return -torch.inf, torch.inf
    source = generator(0, "selection")
    drawn: list[Tensor] = []
    for _, score, survivor in _comparable(scores, survivors):
        # Drawn and not every n-th, which would be the same entry of every kernel.
        count = -(-_SAMPLE * score.numel() // total)
        where = torch.randint(score.numel(), (count,), generator=source).to(score.device)
        drawn.append(score.view(-1)[where[survivor.flatten()[where]]])
    sample = torch.cat(drawn).sort(descending=True).values
    share = k / survivors.kept
    rank, deviation = share * len(sample), (share * (1 - share) * len(sample)) ** 0.5
    first, last = int(rank - 5 * deviation) - 1, int(rank + 5 * deviation) + 1
    return (
        float(sample[last]) if last < len(sample) else -torch.inf,
        float(sample[first]) if first >= 0 else torch.inf,
    )


def _kth_of(pieces: list[Tensor], k: int) -> float:
    """The k-th largest of all values, by partial selection."""
    values = torch.cat(pieces)
    pieces.clear()
    index = len(values) - k
    if values.device.type == "cpu":
        array = values.numpy()
        array.partition(index)  # in place, and several times faster than kthvalue
        return float(array[index])
    return float(values.kthvalue(index + 1).values)


# NumPy counts and picks several times faster than torch.


def _count(mask: Tensor) -> int:
    return int(np.count_nonzero(mask.numpy()) if mask.device.type == "cpu" else mask.count_nonzero())


def _picked(values: Tensor, mask: Tensor) -> Tensor:
    return torch.from_numpy(values.numpy()[mask.numpy()]) if mask.device.type == "cpu" else values[mask]

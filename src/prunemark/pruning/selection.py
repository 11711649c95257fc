"""Scores -> `Masks` at an exact count."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
import torch
from torch import Tensor

from prunemark.masks import Masks
from prunemark.randomness import generator

_LEAST_SAMPLE = 4_096  # scores, from which the threshold is guessed
_PIECE = 262_144  # scores
_JOINED = 1_000_000  # scores, at most, that are worth copying to have them in one piece
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

    Examples:
        >>> scores = {"layer": torch.tensor([0.3, 0.1, 0.2, 0.4])}
        >>> pm.select(scores, sparsity=0.5)["layer"].tolist()
        [True, False, False, True]
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
        return _keep_best(scores, survivors, keep, invert=invert)[0]
    if sum(quotas.values()) != keep or quotas.keys() != scores.keys():
        raise ValueError(
            f"quotas keep {sum(quotas.values()):,} weights of {len(quotas)} layers; asked for are {keep:,} weights "
            f"of {len(scores)} layers"
        )
    chosen: dict[str, Tensor] = {}
    for name, score in scores.items():
        layer = Masks({name: survivors[name]})
        chosen |= _keep_best({name: score}, layer, quotas[name], invert=invert)[0]
    return Masks(chosen)


def select_with_threshold(scores: Mapping[str, Tensor], keep: int, within: Masks | None) -> tuple[Masks, float]:
    """As `select_count` without quotas, and a number that no kept score is below: the lowest of them, or -infinity."""
    return _keep_best(scores, within if within is not None else Masks.ones(scores), keep, invert=False)


def require_finite(scores: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that names the first layer with a score that is infinite, not a number, or too large."""
    for name, score in scores.items():
        if score.dtype in _LARGE_INTEGERS and score.numel() and score.double().abs().max() >= _EXACT:
            raise ValueError(f"scores of {name} hold whole numbers beyond 2^53, which float64 does not tell apart")
    # A sum takes a fraction of the time, and is finite only if all terms are; finite terms may still overflow.
    sums = [score.sum() for score in scores.values()]
    if torch.stack([total.to(sums[0]) for total in sums]).isfinite().all():
        return
    for name, total in zip(scores, sums, strict=True):
        if not total.isfinite():
            score = scores[name]
            bad = score.numel() - int(torch.isfinite(score).sum())
            if bad:
                raise ValueError(f"scores of {name} are not finite ({bad:,} of {score.numel():,} weights)")


def _keep_best(scores: Mapping[str, Tensor], survivors: Masks, keep: int, *, invert: bool) -> tuple[Masks, float]:
    candidates = survivors.kept
    if keep > candidates:
        layers = ", ".join(scores) if len(scores) == 1 else f"{len(scores)} layers"
        raise ValueError(f"cannot keep {keep:,} weights of {layers}: only {candidates:,} survive")
    if keep == candidates:
        return Masks({name: survivors[name].clone() for name in scores}), -torch.inf
    if invert:
        # The inverted choice is what the plain ranking would prune at the complementary count: exact, ties included.
        best, _ = _keep_best(scores, survivors, candidates - keep, invert=False)
        return Masks({name: survivors[name] & ~best[name] for name in scores}), -torch.inf
    if keep == 0:
        return Masks({name: torch.zeros_like(survivors[name]) for name in scores}), torch.inf
    parts = _parts(scores, survivors)
    threshold = _kth_largest(parts, keep, candidates, survivors.total)
    chosen: dict[str, Tensor] = {}
    surplus = -keep
    for part in parts():
        kept = (part.scores >= threshold).logical_and_(part.alive)
        surplus += _count(kept)
        for layer, mask in zip(part.layers, kept.split([layer.size for layer in part.layers]), strict=True):
            chosen[layer.name] = layer.shaped(mask)
    if surplus:
        _drop_last_ties_(chosen, scores, threshold, surplus)
    return Masks(chosen), threshold


def _drop_last_ties_(chosen: dict[str, Tensor], scores: Mapping[str, Tensor], threshold: float, surplus: int) -> None:
    """Prune so many of the chosen weights whose score is the threshold: the last by position."""
    for name in reversed(chosen):
        ties = (scores[name].to(_comparable_dtype(scores)) == threshold).logical_and_(chosen[name])
        dropped = ties.flatten().nonzero().squeeze(1)[-surplus:]
        mask = chosen[name].contiguous()
        mask.view(-1)[dropped] = False
        chosen[name].copy_(mask)
        surplus -= len(dropped)
        if not surplus:
            return


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """How a layer lies in memory: its axes by falling stride, and their sides."""

    name: str
    axes: tuple[int, ...]
    sides: tuple[int, ...]

    @classmethod
    def of(cls, name: str, score: Tensor) -> Self:
        axes = tuple(sorted(range(score.ndim), key=lambda axis: (-score.stride(axis), axis)))
        return cls(name=name, axes=axes, sides=tuple(score.shape[axis] for axis in axes))

    @property
    def size(self) -> int:
        return math.prod(self.sides)

    def flat(self, values: Tensor) -> Tensor:
        """The values of the layer as they lie in memory, (weights,)."""
        return values.permute(self.axes).reshape(-1)

    def shaped(self, values: Tensor) -> Tensor:
        """Values (weights,) in the shape of the layer, a view."""
        back = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return values.view(self.sides).permute(back)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Scores and survivors of some layers, (weights,) each, in whichever order they lie in memory."""

    layers: Sequence[_Layer]
    scores: Tensor
    alive: Tensor


def _comparable_dtype(scores: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype in which no comparison of these scores rounds."""
    # Whole numbers are exact in float64 up to 2^53, in float32 up to 2^24 only.
    wide = (torch.float64 if score.dtype in _LARGE_INTEGERS else score.dtype for score in scores.values())
    return reduce(torch.promote_types, wide, torch.float32)


def _parts(scores: Mapping[str, Tensor], survivors: Masks) -> Callable[[], Iterable[_Part]]:
    """What goes over all scores: layer by layer, or all layers of a small network joined, which are quicker at once."""
    dtype = _comparable_dtype(scores)

    def one_by_one() -> Iterator[_Part]:
        for name, score in scores.items():
            # In channels_last, scores are compared where they lie instead of being moved first.
            layer = _Layer.of(name, score)
            yield _Part(layers=[layer], scores=layer.flat(score).to(dtype), alive=layer.flat(survivors[name]))

    if survivors.total > _JOINED or len(scores) == 1:
        return one_by_one
    pieces = list(one_by_one())
    joined = _Part(
        layers=[layer for piece in pieces for layer in piece.layers],
        scores=torch.cat([piece.scores for piece in pieces]),
        alive=torch.cat([piece.alive for piece in pieces]),
    )
    return lambda: [joined]


def _kth_largest(parts: Callable[[], Iterable[_Part]], k: int, alive: int, total: int) -> float:
    """The k-th largest score of the survivors: nothing is sorted, and only scores near it are copied.

    The two scores between which a sample expects it are compared with all: those above are counted, those between them
    partitioned. Where the sample was wrong, all are.

    Args:
        parts: gives all scores.
        k: from 1.
        alive: how many survivors there are.
        total: how many scores.
    """
    for low, high in (_bracket(parts, k / alive, total), (-torch.inf, torch.inf)):
        above, between = 0, list[Tensor]()
        for part in parts():
            # In pieces that the processor's cache holds, since each is read twice.
            for piece, alive_piece in zip(part.scores.split(_PIECE), part.alive.split(_PIECE), strict=True):
                inside = (piece >= low).logical_and_(alive_piece)
                over = (piece > high).logical_and_(alive_piece)
                above += _count(over)
                between.append(_picked(piece, inside.logical_xor_(over)))
        if above < k <= above + sum(map(len, between)):
            return _kth_of(between, k - above)
    raise AssertionError(f"fewer than {k} finite scores")


def _bracket(parts: Callable[[], Iterable[_Part]], share: float, total: int) -> tuple[float, float]:
    """Two scores that bracket the one above which that share is: five standard deviations of a sample's rank apart."""
    size = max(_LEAST_SAMPLE, round(total ** (2 / 3)))
    if total <= size:
        return -torch.inf, torch.inf
    source = generator(0, "selection")
    drawn: list[Tensor] = []
    for part in parts():
        # Drawn and not every n-th, which would be the same entry of every kernel.
        here = len(part.scores)
        where = torch.randint(here, (-(-size * here // total),), generator=source).to(part.scores.device)
        drawn.append(part.scores[where[part.alive[where]]])
    sample = torch.cat(drawn).sort(descending=True).values
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

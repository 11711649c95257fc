"""Ranges of sparsity as stretches of the logarithmic axis of weights remaining."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import sqrt

from prunemark.stats import Ranges
from prunemark.stats.ranges import SparsityRange


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Neighbouring sparsities in one range: `start` > `end` in percent of the weights remaining."""

    kind: SparsityRange
    start: float
    end: float
    sparsities: tuple[float, ...]


def tested(found: Ranges) -> list[float]:
    """All sparsities that the ranges divide, ascending."""
    return sorted((*found.trivial, *found.matching, *found.extreme, *found.undecided))


def remaining(sparsity: float) -> float:
    """The weights remaining, in percent, to as many digits as charts carry."""
    return round(100 * (1 - sparsity), 7)


def domain(shares: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis of weights remaining: a little beyond the highest and the lowest share."""
    high, low = max(shares), min(shares)
    beyond = (high / low) ** 0.02
    return high * beyond, low / beyond


def stretches(found: Ranges, sparsities: Sequence[float], ends: tuple[float, float]) -> list[Stretch]:
    """The axis from end to end, divided half way, as the logarithm goes, between sparsities of different ranges.

    Args:
        found: the ranges of an experiment.
        sparsities: those of the experiment that are on the axis.
        ends: the most and the least that remains on it, in percent.
    """
    ordered = sorted(sparsities)
    if not ordered:
        return []
    inner = [sqrt(remaining(a) * remaining(b)) for a, b in pairwise(ordered)]
    edges = [ends[0], *inner, ends[1]]
    result: list[Stretch] = []

    def kind_of(at: int) -> SparsityRange:
        return found.of(ordered[at])

    for kind, group in groupby(range(len(ordered)), key=kind_of):
        at = list(group)
        inside = tuple(ordered[i] for i in at)
        result.append(Stretch(kind=kind, start=edges[at[0]], end=edges[at[-1] + 1], sparsities=inside))
    return result

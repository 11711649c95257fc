"""Number of further replicates that would settle a question, and how likely that is."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prunemark.stats.effects import FEWEST_REPLICATES, Effect, Standard
from prunemark.stats.looks import ALPHA, levels
from prunemark.stats.predicates import Predicate, contradicted, supported

LIKELY = 2 / 3
_DRAWS = 4000
_SEED = 20090857
_GROWTH = 1.15
_MOST_REPLICATES = 10_000


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """`replicates` more settle a question with probability `chance`; at most the study's max, where it has looks."""

    replicates: int
    chance: float


def prospect(effect: Effect, predicate: Predicate, standard: Standard) -> Prospect | None:
    """The fewest further replicates that settle an open question with a chance of at least 2 in 3.

    The chance is over what the true mean and spread may be and over the further replicates (posterior predictive, from
    the prior 1 / sigma; 4,000 draws, always the same). With looks, a question is settled at the first of the next looks
    that settles it, at that look's level, and the last look is named, with its chance, if none reaches 2 in 3; without,
    the interval is looked at once, after the further replicates. None where the question is not open, has fewer than 3
    replicates or one without a number, or no more replicates can be had or would do.
    """
    n = effect.replicates
    if (
        n < FEWEST_REPLICATES
        or math.isnan(effect.difference)
        or effect.state(predicate, margin=standard.margin) != "open"
    ):
        return None
    random = np.random.default_rng(_SEED)
    squares = effect.standard_error**2 * n * (n - 1)
    variance = squares / random.chisquare(n - 1, _DRAWS)
    truth = effect.difference + np.sqrt(variance / n) * random.standard_normal(_DRAWS)
    best: Prospect | None = None
    settled = np.zeros(_DRAWS, dtype=bool)
    size, mean, within = n, np.full(_DRAWS, effect.difference), np.full(_DRAWS, squares)
    for further, level in _next(effect, standard):
        more = n + further - size
        fresh = truth + np.sqrt(variance / more) * random.standard_normal(_DRAWS)
        within = within + (fresh - mean) ** 2 * size * more / (size + more)
        if more > 1:
            within = within + variance * random.chisquare(more - 1, _DRAWS)
        mean = (size * mean + more * fresh) / (size + more)
        size += more
        now = _settles(predicate, mean, within, size, level, standard)
        settled = settled | now if standard.looks else now
        best = Prospect(replicates=further, chance=float(settled.mean()))
        if best.chance >= LIKELY:
            return best
    return best if standard.looks else None


def _settles(
    predicate: Predicate, mean: np.ndarray, within: np.ndarray, size: int, level: float, standard: Standard
) -> np.ndarray:
    from scipy.special import stdtrit

    error = np.sqrt(np.maximum(within / (size - 1), standard.rounding_variance()) / size)
    half = math.inf if level <= 0 else float(stdtrit(size - 1, 1 - level)) * error
    low, high = mean - half, mean + half
    margin = standard.margin
    return supported(predicate, low, high, margin=margin) | contradicted(predicate, low, high, margin=margin)


def _next(effect: Effect, standard: Standard) -> Iterator[tuple[int, float]]:
    """Further replicates, and the nominal level at which they are looked at, assuming that none of them fails."""
    looks, n = standard.looks, effect.replicates
    if looks is None:
        further = 1
        while further <= _MOST_REPLICATES:
            yield further, ALPHA
            further = max(further + 1, round(further * _GROWTH))
        return
    done = effect.look or 0
    before = looks.sizes[done - 1] if done else 0
    coming = [n + size - before for size in looks.sizes[done:]]
    coming_levels = levels(looks, (*effect.valid, *coming))[len(effect.valid) :]
    for size, level in zip(coming, coming_levels, strict=True):
        yield size - n, level

"""Paired differences over replicates and what they establish."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prunemark.terms.margins import check_margin

Outcome = Literal["equivalent", "better", "worse", "preserved", "inconclusive", "no verdict"]

FEWEST_REPLICATES = 3
MOST_FURTHER_REPLICATES = 10_000
_TAIL = 0.05
# Accuracies are fractions of a count of examples; what lies below this is the rounding of a subtraction.
_DECIMALS_PP = 9


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """left - right over the replicates that both sides have, in percentage points.

    `dropped` counts the replicates known on a side that give no pair. `low` and `high` bound the 90 %
    confidence interval of the mean difference; they are NaN with fewer than 3 replicates, and so is `sd`
    with fewer than 2 and `difference` with none.
    """

    replicates: int
    dropped: int
    difference: float
    sd: float
    low: float
    high: float
    margin: float
    outcome: Outcome


def half_width(sd: float, n: int) -> float:
    """Half the width of the 90 % confidence interval of a mean: t(0.95; n - 1) * sd / sqrt(n), n >= 2."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return float(stdtrit(n - 1, 1 - _TAIL)) * sd / math.sqrt(n)  # pyright: ignore[reportUnknownArgumentType]


def judge(low: float, high: float, *, margin: float) -> Outcome:
    """What a confidence interval [low, high] of left - right establishes; bounds must be passed strictly.

    The first that fits: *equivalent*, -margin < low and high < margin (two one-sided tests at 5 %);
    *better*, low > 0; *worse*, high < 0; *preserved*, low > -margin (left is not inferior); else *inconclusive*.

    Reference: Schuirmann (1987), J. Pharmacokinet. Biopharm. 15:657, for the two one-sided tests.
    """
    if -margin < low and high < margin:
        return "equivalent"
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "preserved" if low > -margin else "inconclusive"


def compare(left: Mapping[int, float], right: Mapping[int, float], *, margin: float) -> Comparison:
    """Compare two conditions, each a mapping from replicate to accuracy in percent (NaN: no result).

    Mean d and standard deviation s (n - 1) of the paired differences, interval d -+ t(0.95; n - 1) s / sqrt(n).
    With s = 0 the interval is the point d. Fewer than 3 pairs give "no verdict".

    Raises:
        ValueError: the margin is not positive and finite.
    """
    check_margin(margin)
    known = left.keys() | right.keys()
    pairs = ((left.get(replicate, math.nan), right.get(replicate, math.nan)) for replicate in sorted(known))
    differences = np.array([a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)], dtype=np.float64)
    differences = differences.round(_DECIMALS_PP)
    n = len(differences)
    difference = sd = low = high = math.nan
    outcome: Outcome = "no verdict"
    if n >= 1:
        difference = float(differences.mean())
    if n >= 2:
        sd = float(differences.std(ddof=1))
        if differences.min() == differences.max():
            difference, sd = float(differences[0]), 0.0
    if n >= FEWEST_REPLICATES:
        half = half_width(sd, n)
        low, high = difference - half, difference + half
        outcome = judge(low, high, margin=margin)
    return Comparison(
        replicates=n,
        dropped=len(known) - n,
        difference=difference,
        sd=sd,
        low=low,
        high=high,
        margin=margin,
        outcome=outcome,
    )


def further_replicates(
    comparison: Comparison, *, undecided: frozenset[Outcome] = frozenset[Outcome]({"inconclusive"})
) -> int | None:
    """The fewest further replicates that would settle a comparison if its mean and spread stayed as they are.

    The smallest m >= 0 such that the interval d -+ t(0.95; n + m - 1) s / sqrt(n + m) gives an outcome that
    is not in `undecided`. With h for the half-width, an outcome other than "inconclusive" needs
    h < max(d + margin, -d); one that is neither "inconclusive" nor "preserved" needs h < max(|d|, margin - |d|).
    Both bounds are at least margin / 2 and h shrinks with every replicate, so an answer exists, and what is
    settled stays settled (it may still move, from "better" to "equivalent", when 0 < |d| < margin).

    `undecided` is {"inconclusive"} or {"inconclusive", "preserved"}. None where there is no verdict, or where
    more than 10,000 further replicates would be needed. An estimate: the next replicates move d and s.
    """
    n, d, margin = comparison.replicates, comparison.difference, comparison.margin
    if n < FEWEST_REPLICATES:
        return None

    def settled(m: int) -> bool:
        half = half_width(comparison.sd, n + m)
        return judge(d - half, d + half, margin=margin) not in undecided

    found = bisect_left(range(MOST_FURTHER_REPLICATES + 1), True, key=settled)
    return found if found <= MOST_FURTHER_REPLICATES else None

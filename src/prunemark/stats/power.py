"""Number of replicates that it takes to show that two conditions are equivalent."""

import math
from bisect import bisect_left

import numpy as np

from prunemark.stats.effects import FEWEST_REPLICATES
from prunemark.terms.margins import DEFAULT_MARGIN, check_margin

_NODES = 200
_MOST_REPLICATES = 10_000
_TAIL = 0.05


def equivalence_power(*, standard_error: float, df: int, margin: float, difference: float = 0.0) -> float:
    """The probability that two one-sided t-tests at 5 % establish equivalence.

    With q = sqrt(chi2(df) / df), the ratio of the estimated to the true standard error e, and true difference D:
    E_q [ Phi((margin - D) / e - t q) - Phi((-margin - D) / e + t q) ] over q < margin / (t e), t = t(0.95; df);
    by Gauss-Legendre quadrature over the quantiles of q. All but `df` in percentage points (or any one unit).

    Raises:
        ValueError: the margin is not positive and finite, standard_error is not positive, or df < 1.

    Reference: Phillips (1990), J. Pharmacokinet. Biopharm. 18:137.
    """
    from scipy.special import gammainc, gammaincinv, ndtr, stdtrit  # pyright: ignore  # no type stubs

    check_margin(margin)
    if not (standard_error > 0 and df >= 1):
        raise ValueError(f"standard_error must be positive and df >= 1, not {standard_error!r} and {df!r}")
    t = float(stdtrit(df, 1 - _TAIL))
    largest_q = margin / (t * standard_error)
    largest_u = float(gammainc(df / 2, df * largest_q**2 / 2))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    quantiles: np.ndarray = gammaincinv(df / 2, largest_u * (nodes + 1) / 2)
    q = np.sqrt(2 * quantiles / df)
    upper: np.ndarray = ndtr((margin - difference) / standard_error - t * q)
    lower: np.ndarray = ndtr((-margin - difference) / standard_error + t * q)
    return float(np.sum(weights * (upper - lower)) * largest_u / 2)


def replicates_needed(
    *, sd: float, margin: float = DEFAULT_MARGIN, difference: float = 0.0, power: float = 0.8
) -> int | None:
    """The fewest replicates (at least 3) that establish equivalence with that probability.

    `sd` is the standard deviation of a paired difference and `difference` its true mean, in percentage points
    like the margin. None where no 10,000 replicates do, as for a difference at or beyond the margin.

    Raises:
        ValueError: sd is negative, power is not in (0, 1), or the margin is not positive and finite.
    """
    check_margin(margin)
    if not (math.isfinite(sd) and sd >= 0 and 0 < power < 1):
        raise ValueError(f"sd must be at least 0 and power in (0, 1), not {sd!r} and {power!r}")
    if abs(difference) >= margin:
        return None
    if sd == 0:
        return FEWEST_REPLICATES

    def enough(n: int) -> bool:
        e = sd / math.sqrt(n)
        return equivalence_power(standard_error=e, df=n - 1, margin=margin, difference=difference) >= power

    candidates = range(FEWEST_REPLICATES, _MOST_REPLICATES + 1)
    found = bisect_left(candidates, True, key=enough)
    return candidates[found] if found < len(candidates) else None

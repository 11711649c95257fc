"""Error that each look at a growing number of replicates may spend."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from prunemark.terms.looks import SIZES, Looks

Spending = Callable[[float, float], float]
Floats = np.ndarray

ALPHA = 0.05
# The recursion is about normal statistics. With t quantiles at its nominal levels the error comes out a tenth too
# large, so a tenth less is spent (docs/calibration.md holds what is realised).
_SPENT_OF_ALPHA = 0.9
_NODES = 512
# Standard deviations beyond which a normal density is 0 in double precision.
_FAR = 9.0
_LEAST_SPENT = 1e-13


def pocock_spending(alpha: float, t: float) -> float:
    """Error spent at information fraction t: alpha ln(1 + (e - 1) t), after which looks have nearly equal levels.

    Reference: Lan and DeMets (1983), Biometrika 70:659.
    """
    return alpha * math.log1p((math.e - 1) * min(t, 1.0))


def obrien_fleming_spending(alpha: float, t: float) -> float:
    """Error spent at information fraction t: 2 - 2 Phi(z(1 - alpha / 2) / sqrt(t)), which spends little early.

    Reference: Lan and DeMets (1983), Biometrika 70:659.
    """
    from scipy.special import ndtr, ndtri

    return 2 * float(ndtr(-ndtri(1 - alpha / 2) / math.sqrt(min(t, 1.0)))) if t > 0 else 0.0


def bounds(fractions: Sequence[float], *, alpha: float, spending: Spending = pocock_spending) -> list[float]:
    """One-sided critical values of a standard normal statistic at each look, such that all looks together err by alpha.

    The statistic at information fraction t_k is B(t_k) / sqrt(t_k), B a Brownian motion. The density of B(t_k) among
    paths that crossed no bound so far follows by integrating over that of the look before; each bound is chosen so that
    what newly crosses it is the spending's increment. A look without new information spends nothing: its bound is
    infinite.

    Args:
        fractions: information fractions, not decreasing, in (0, 1].
        alpha: the error of all looks together.
        spending: (alpha, t) -> the error spent up to t.

    Raises:
        ValueError: fractions that decrease or are outside (0, 1].

    Reference: Armitage, McPherson and Rowe (1969), J. R. Statist. Soc. A 132:235, for the recursion.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    if any(not 0 < t <= 1 for t in fractions) or any(b < a for a, b in pairwise(fractions)):
        raise ValueError(f"information fractions must be in (0, 1] and not decrease, not {list(fractions)}")
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    found: list[float] = []
    before, spent = 0.0, 0.0
    # Where B of the look before may be, and the share of paths there.
    places, masses = np.zeros(1), np.ones(1)
    for t in fractions:
        increment = spending(alpha, t) - spent
        step = math.sqrt(max(t - before, 0.0))
        if step == 0:
            found.append(math.inf)
            continue

        far = _FAR * math.sqrt(t)
        if increment < _LEAST_SPENT or _excess(far, increment, step, places, masses) > 0:
            bound = math.inf
        elif before == 0:
            bound = -float(ndtri(increment)) * step
        else:
            bound = float(brentq(_excess, -far, far, args=(increment, step, places, masses), xtol=1e-12))  # pyright: ignore[reportArgumentType]
        found.append(bound / math.sqrt(t))
        if bound < math.inf:
            spent = spending(alpha, t)
        high = min(bound, far)
        fresh = (high - far) / 2 + (high + far) / 2 * nodes
        density = np.exp(-(((fresh[:, None] - places[None, :]) / step) ** 2) / 2) @ masses / step / math.sqrt(2 * np.pi)
        places, masses = fresh, density * weights * (high + far) / 2
        before = t
    return found


def _excess(bound: float, aim: float, step: float, places: Floats, masses: Floats) -> float:
    """Share of paths that cross the bound at a look, given where they were at the one before, less `aim`."""
    from scipy.special import ndtr

    return float(masses @ ndtr((places - bound) / step)) - aim


def levels(looks: Looks, valid: Sequence[int] | None = None, *, alpha: float = ALPHA) -> tuple[float, ...]:
    """The nominal one-sided level of each look so far, for a t quantile with (valid - 1) degrees of freedom.

    Args:
        looks: those that were planned.
        valid: how many replicates without a failure each look so far has had, not decreasing; by default the planned
            ones. Error is spent at t = valid / max, so that a failed replicate spends nothing.
        alpha: one-sided error of all looks together.

    Returns:
        A level for each entry of `valid`; 0 where a look has fewer than 3 valid replicates, which allow no test, or
        none more than the look before.
    """
    return _levels(looks.max, tuple(looks.sizes if valid is None else valid), alpha)


@cache
def _levels(most: int, valid: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    from scipy.special import ndtr

    looked = [n for n in valid if n >= SIZES[0]]
    found = bounds([n / most for n in looked], alpha=_SPENT_OF_ALPHA * alpha)
    return (*[0.0] * (len(valid) - len(looked)), *(float(ndtr(-bound)) for bound in found))

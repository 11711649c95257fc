"""Looks at a growing number of replicates, and how much error each may spend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np

Until = Literal["claims", "cells"]
Spending = Callable[[float, float], float]
Floats = np.ndarray

SIZES = (3, 5, 8, 12, 20)
GROWTH = 1.6
"""By how much a look beyond the last of SIZES exceeds the one before it."""
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


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Plan of a study's looks at its results, and of what each must settle.

    Replicates grow from `min` to `max` through `sizes`; each look's repeated confidence interval goes into the same
    predicates as that of a study with a fixed number. `until` says what must be settled to stop: "claims" or "cells".

    Raises:
        ValueError: min is below 3 or above max, or `until` is neither.
    """

    min: int = SIZES[0]
    max: int = SIZES[-1]
    until: Until = "claims"

    def __post_init__(self) -> None:
        if not SIZES[0] <= self.min <= self.max:
            raise ValueError(f"looks need {SIZES[0]} <= min <= max, not min = {self.min} and max = {self.max}")
        if self.until not in ("claims", "cells"):
            raise ValueError(f'until must be "claims" or "cells", not {self.until!r}')

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of replicates at which there is a look: min, max, and those of 3, 5, 8, 12, 20, 32, ... between."""
        grown: list[int] = list(SIZES)
        while grown[-1] < self.max:
            grown.append(round(grown[-1] * GROWTH))
        return (*sorted({self.min, self.max, *(n for n in grown if self.min < n < self.max)}),)

    def look_of(self, replicates: int) -> int | None:
        """Look (0, 1, ...) that this number of replicates has reached; None before the first."""
        reached = sum(size <= replicates for size in self.sizes)
        return reached - 1 if reached else None

    def levels(self, valid: Sequence[int] | None = None, *, alpha: float = ALPHA) -> tuple[float, ...]:
        """The nominal one-sided level of each look so far, for a t quantile with (valid - 1) degrees of freedom.

        Args:
            valid: how many replicates without a failure each look so far has had, not decreasing; by default the
                planned ones. Error is spent at t = valid / max, so that a failed replicate spends nothing.
            alpha: one-sided error of all looks together.

        Returns:
            A level for each entry of `valid`; 0 where a look has fewer than 3 valid replicates, which allow no test,
            or none more than the look before.
        """
        return _levels(self.max, tuple(self.sizes if valid is None else valid), alpha)


@cache
def _levels(most: int, valid: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    from scipy.special import ndtr

    looked = [n for n in valid if n >= SIZES[0]]
    found = bounds([n / most for n in looked], alpha=_SPENT_OF_ALPHA * alpha)
    return (*[0.0] * (len(valid) - len(looked)), *(float(ndtr(-bound)) for bound in found))

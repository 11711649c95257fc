"""The size of a difference over replicates, with its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prunemark.stats.looks import ALPHA, levels
from prunemark.stats.predicates import Predicate, State, contradiction_p, decide
from prunemark.stats.records import Record
from prunemark.terms.looks import Looks
from prunemark.terms.margins import check_margin
from prunemark.terms.metrics import METRICS, Metric

FEWEST_REPLICATES = 3
FEWEST_WITH_AN_OUTLIER = 5
OUTLYING_DEVIATIONS = 5.0
# Accuracies are fractions of a count of examples; a difference below this is the rounding of a subtraction.
_DECIMALS_PP = 9


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Standard of evidence: the margin in percentage points, the looks, the number of test images, and the metric.

    `looks` is None where the number of replicates was fixed beforehand. `images` is None where it is not known; then
    `steps` is the number of steps in [0, 1] to which the accuracies were rounded, see
    `prunemark.stats.rounding.steps_of_rounding`. With neither, nothing is added to a variance that rounding has made
    too small.
    """

    margin: float
    looks: Looks | None = None
    images: int | None = None
    metric: Metric = METRICS["accuracy"]
    steps: int | None = None

    def __post_init__(self) -> None:
        check_margin(self.margin)
        if self.images is not None and self.images < 1:
            raise ValueError(f"images must be at least 1, not {self.images}")

    def rounding_variance(self, squared_weights: float = 2.0) -> float:
        """Variance that rounding to N test images, or steps, adds to a sum of accuracies: (100 / N)^2 / 12 for each.

        Args:
            squared_weights: sum of the squared weights of the accuracies; 2 for a difference of two.
        """
        count = self.images or self.steps
        return 0.0 if count is None else squared_weights * (100 / count) ** 2 / 12


@dataclass(frozen=True, kw_only=True)
class Effect(Record):
    """The mean of a difference over replicates, in percentage points.

    `low` and `high` are the ends of its interval: the 90 % t interval, or the repeated confidence interval of look
    `look` (counted from 1) of `looks`. They are NaN where there is no verdict. `level` is the nominal one-sided error
    of either end. `dropped` counts replicates without a result on one side; `later` counts those beyond the last look,
    which wait for the next. `outlier` is the replicate farthest off, if that is more than 5 median
    deviations and more than the margin; `difference_without`, `low_without` and `high_without` are the same numbers
    without it.
    """

    replicates: int
    dropped: int
    later: int
    difference: float
    standard_error: float
    low: float
    high: float
    level: float
    look: int | None
    looks: int | None
    valid: tuple[int, ...]
    outlier: int | None = None
    difference_without: float = math.nan
    low_without: float = math.nan
    high_without: float = math.nan

    def state(self, predicate: Predicate, *, margin: float) -> State:
        """State of a predicate by this effect.

        Fewer than 3 replicates leave it open, and so does "keeps" below 5 replicates where one of them is far off:
        a failure that strikes one run in three is as likely missed as seen.
        """
        found = decide(predicate, self.low, self.high, margin=margin)
        hasty = self.outlier is not None and self.replicates < FEWEST_WITH_AN_OUTLIER
        return "open" if predicate == "keeps" and found == "supported" and hasty else found

    def contradiction_p(self, predicate: Predicate, *, margin: float) -> float:
        """The p-value of the test that would contradict a predicate; NaN where there is no verdict."""
        if math.isnan(self.low):
            return math.nan
        df = self.replicates - 1
        return contradiction_p(predicate, self.difference, self.standard_error, df, margin=margin)

    def level_of(self, alpha: float, looks: Looks | None) -> float:
        """The nominal level at which a test of this effect errs by `alpha` over all looks."""
        if looks is None:
            return alpha
        return _last_level(looks, self.valid, alpha)


def t_half_width(standard_error: float, n: int, level: float) -> float:
    """t(1 - level; n - 1) times the standard error; infinite at level 0."""
    from scipy.special import stdtrit

    return math.inf if level <= 0 else float(stdtrit(n - 1, 1 - level)) * standard_error


def measure(
    values: Mapping[int, float], standard: Standard, *, squared_weights: float = 2.0, absent: int = 0
) -> Effect:
    """The effect that values by replicate make; NaN is a replicate that failed.

    An infinite value is one of a run that diverged without a number. Left out, it would favour what diverges: with one
    there is no mean, no interval and no verdict.

    Mean d, standard error e = sqrt(max(s^2, r) / n) with the sample variance s^2 and the variance r of rounding to
    whole test images, interval d -+ t(1 - level; n - 1) e. With looks, only replicates up to the last look reached
    count, in the order of their numbers.

    Args:
        values: left - right in percentage points, by replicate.
        standard: margin, looks and number of test images.
        squared_weights: sum of the squared weights of the accuracies that each value is made of.
        absent: replicates that only some of the accuracies have, because the others were not run yet.
    """
    order = sorted(values)
    looks = standard.looks
    look = None if looks is None else looks.look_of(len(order))
    used = order
    if looks is not None:
        used = [] if look is None else order[: looks.sizes[look]]
    finite = {i: round(values[i], _DECIMALS_PP) for i in used if math.isfinite(values[i])}
    sizes = () if looks is None or look is None else looks.sizes[: look + 1]
    valid = tuple(sum(replicate in finite for replicate in used[:size]) for size in sizes)
    level = ALPHA if looks is None else _last_level(looks, valid, ALPHA)
    far = _outlier(finite, standard, squared_weights)
    without = {i: value for i, value in finite.items() if i != far}
    difference, error, low, high = _interval(finite, standard, squared_weights, level)
    if any(math.isinf(values[i]) for i in used):
        far, difference, error, low, high = None, math.nan, math.nan, math.nan, math.nan
    apart = _interval(without, standard, squared_weights, level) if far is not None else (math.nan,) * 4
    return Effect(
        replicates=len(finite),
        dropped=len(used) - len(finite) + absent,
        later=len(order) - len(used),
        difference=difference,
        standard_error=error,
        low=low,
        high=high,
        level=level,
        look=None if look is None else look + 1,
        looks=None if looks is None else len(looks.sizes),
        valid=valid,
        outlier=far,
        difference_without=apart[0],
        low_without=apart[2],
        high_without=apart[3],
    )


def _last_level(looks: Looks, valid: tuple[int, ...], alpha: float) -> float:
    # A look that brought no new replicate spends nothing: what it shows is what the look before it showed.
    return next((level for level in reversed(levels(looks, valid, alpha=alpha)) if level > 0), 0.0)


def _interval(
    values: Mapping[int, float], standard: Standard, squared_weights: float, level: float
) -> tuple[float, float, float, float]:
    n = len(values)
    if n == 0:
        return math.nan, math.nan, math.nan, math.nan
    numbers = np.array(list(values.values()), dtype=np.float64)
    # The mean of equal numbers is that number, also in the last bit.
    same = numbers.min() == numbers.max()
    difference = float(numbers[0] if same else numbers.mean())
    if n < FEWEST_REPLICATES:
        return difference, math.nan, math.nan, math.nan
    variance = max(0.0 if same else float(numbers.var(ddof=1)), standard.rounding_variance(squared_weights))
    error = math.sqrt(variance / n)
    half = t_half_width(error, n, level)
    if math.isinf(half):
        return difference, error, math.nan, math.nan
    return difference, error, difference - half, difference + half


def _outlier(values: Mapping[int, float], standard: Standard, squared_weights: float) -> int | None:
    """The replicate farthest from the median, if that is more than 5 median deviations and more than the margin.

    Of three replicates in normal order, one is more than 5 median deviations off in three studies of ten; only a
    distance that would matter is worth a warning.
    """
    if len(values) < FEWEST_REPLICATES:
        return None
    middle = float(np.median(list(values.values())))
    off = {replicate: abs(value - middle) for replicate, value in values.items()}
    rounding = math.sqrt(standard.rounding_variance(squared_weights))
    deviation = max(float(np.median(list(off.values()))), rounding)
    farthest = max(off, key=lambda replicate: off[replicate])
    return farthest if off[farthest] > max(OUTLYING_DEVIATIONS * deviation, standard.margin) else None

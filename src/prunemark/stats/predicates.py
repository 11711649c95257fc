"""State of a claim by an interval of a difference: supported, contradicted or open."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from prunemark.terms.margins import check_margin

Predicate = Literal["keeps", "hurts", "beats"]
State = Literal["supported", "contradicted", "open", "untested"]
Size = Literal["beyond the margin", "within the margin", "unclear"]


def supported(predicate: Predicate, low: Any, high: Any, *, margin: float) -> Any:
    """True if the interval (low, high) supports the predicate; elementwise for arrays.

    With margin delta: *keeps* (d > -delta) if low > -delta; *hurts* (d < 0) if high < 0, *beats* (d > 0) if low > 0,
    the last two unless equivalence is shown (-delta < low and high < delta). Bounds must be passed strictly, and NaN
    passes none.
    """
    equivalent = (low > -margin) & (high < margin)
    if predicate == "keeps":
        return low > -margin
    beyond = high < 0 if predicate == "hurts" else low > 0
    return beyond & (equivalent ^ True)


def contradicted(predicate: Predicate, low: Any, high: Any, *, margin: float) -> Any:
    """True if the interval (low, high) contradicts the predicate; elementwise for arrays.

    With margin delta: *keeps* if high < -delta, *hurts* if low > -delta, *beats* if high < delta. What would be a small
    loss does not contradict "keeps": only a loss beyond the margin does.
    """
    if predicate == "keeps":
        return high < -margin
    return low > -margin if predicate == "hurts" else high < margin


def decide(predicate: Predicate, low: float, high: float, *, margin: float) -> State:
    """The state of a predicate on left - right with the interval (low, high), in percentage points.

    With an interval whose ends each err in 5 % of cases, a predicate is called supported in at most 5 % of cases where
    it is plainly false (keeps: d <= -margin; hurts: d >= 0; beats: d <= 0), and contradicted in at most 5 % where it
    is plainly true (keeps: d >= -margin; hurts: d <= -margin; beats: d >= margin). NaN bounds leave it open.

    Raises:
        ValueError: the margin is not positive and finite.

    Reference: Schuirmann (1987), J. Pharmacokinet. Biopharm. 15:657, for equivalence by two one-sided tests.
    """
    check_margin(margin)
    if supported(predicate, low, high, margin=margin):
        return "supported"
    return "contradicted" if contradicted(predicate, low, high, margin=margin) else "open"


def size(low: float, high: float, *, margin: float) -> Size:
    """Size of a difference by its interval: beyond the margin, on either side, or within it."""
    if low > margin or high < -margin:
        return "beyond the margin"
    return "within the margin" if -margin < low and high < margin else "unclear"


def contradiction_p(predicate: Predicate, difference: float, standard_error: float, df: int, *, margin: float) -> float:
    """The p-value of the one-sided t-test behind `contradicted`, against the boundary that it uses.

    keeps: P(T <= (d + delta) / e); hurts: P(T >= (d + delta) / e); beats: P(T <= (d - delta) / e), T with `df` degrees
    of freedom and e the standard error. With e = 0 it is 0 or 1.
    """
    from scipy.special import stdtr

    distance = difference - margin if predicate == "beats" else difference + margin
    if predicate == "hurts":
        distance = -distance
    if standard_error == 0:
        return 0.0 if distance < 0 else 1.0
    return float(stdtr(df, distance / standard_error))


def holm(p_values: Sequence[float], *, alpha: float = 0.05, level: Callable[[int, float], float]) -> list[bool]:
    """Rejections of Holm's step-down procedure, in the order of the hypotheses given.

    The i-th smallest p-value (i = 0, 1, ...) of m is held against alpha / (m - i), until one does not pass.

    Args:
        p_values: one per hypothesis; NaN is never rejected, but counts in m.
        alpha: the familywise error rate.
        level: (position in p_values, share of alpha) -> the nominal level at which a single test errs by that share;
            the identity of its second argument for a test that is looked at once.

    Reference: Holm (1979), Scand. J. Statist. 6:65.
    """
    order = sorted(range(len(p_values)), key=lambda at: (p_values[at] != p_values[at], p_values[at]))
    rejected = [False] * len(p_values)
    for done, at in enumerate(order):
        if not p_values[at] < level(at, alpha / (len(p_values) - done)):
            break
        rejected[at] = True
    return rejected

"""Two ways of doing one thing, timed in turn."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One thing done in two ways.

    Attributes:
        what: what is done, down to what a call does `count` of, such as a step.
        rival: what it is compared with.
        ours, theirs: do it `count` times.
        count: how many a call does.
    """

    what: str
    rival: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A comparison's times: processor milliseconds, medians; `ratio` is the median of theirs / ours."""

    what: str
    rival: str
    ours_ms: float
    rival_ms: float
    ratio: float


def measure(comparison: Comparison, *, rounds: int = 3, clock: Callable[[], float] = time.process_time) -> Measured:
    """Time both ways in turn, A B A B, after a call of each that is not timed.

    Each round gives one ratio, and their median counts: what disturbs the machine for longer than that disturbs both.

    Args:
        comparison: what to time.
        rounds: calls of each.
        clock: seconds; processor time, which other programs' work does not enter.
    """
    comparison.ours()
    comparison.theirs()
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        began = clock()
        comparison.ours()
        middle = clock()
        comparison.theirs()
        pairs.append((middle - began, clock() - middle))
    ours, theirs = (1e3 * statistics.median(side) / comparison.count for side in zip(*pairs, strict=True))
    return Measured(
        what=comparison.what,
        rival=comparison.rival,
        ours_ms=ours,
        rival_ms=theirs,
        ratio=statistics.median(other / own for own, other in pairs),
    )

"""Formats of numbers in terminals, reports and files."""

import math
from collections.abc import Iterable


def percent(fraction: float) -> str:
    """A sparsity or density in percent with the digits that tell it from its neighbours: "48.8 %", "99.98 %"."""
    return f"{percent_number(fraction)} %"


def percent_number(fraction: float) -> str:
    """`percent` without its sign, for axes and column heads that carry it already.

    Three significant digits of the smaller of the fraction and what is missing to 1, two where that is below 10 %: a
    sparsity and its density have the same number of decimals, and neither reads as 0 or 100 % unless it is.
    """
    nearest = 100 * min(fraction, 1 - fraction)
    if nearest <= 0:
        return f"{100 * fraction:g}"
    significant = 3 if nearest >= 10 else 2
    digits = max(significant - 1 - math.floor(math.log10(nearest) + 1e-9), 0)
    text = f"{100 * fraction:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def pp(value: float) -> str:
    """A difference in percentage points with its sign and two decimals; never "-0.00", and a dash for none."""
    return "–" if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"


def counted(number: int, noun: str) -> str:
    """A number of things: "1 trial", "1,200 trials"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def by_sides(shape: Iterable[int]) -> str:
    """A shape: "1x8x8"."""
    return "x".join(map(str, shape))

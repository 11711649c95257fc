"""Names of lines at their right ends, in place of a legend, where they leave each other room."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from prunemark.reports import marks, theme
from prunemark.reports.theme import Style

NAME = "line-ends"
"""Of the layers that hold the names; a narrow page leaves them out and shows the legend that they stand for."""

ROOM = 14.0
"""Pixels from one name to the next."""
FARTHEST = 16.0
"""Pixels by which a name may be moved from the end of its line."""
_SYMBOL_AT, _TEXT_AT = 10, 19


@dataclass(frozen=True, kw_only=True)
class LineEnd:
    """A name beside the plot, `at` so many pixels from its top; `below` says that its line ends below the plot."""

    line: str
    at: float
    below: bool


def line_ends(
    values: Sequence[Mapping[str, Any]], place: Callable[[float], float], *, height: float
) -> list[LineEnd] | None:
    """Positions of the lines' names; None if a line ends early or names would collide, so that a legend has to do.

    Names that overlap are pushed apart by as little as possible (least squares in their order).

    Args:
        values: data of `marks.value`; the last one of a line is that with the least `remaining`.
        place: position of a value in the plot, from 0 at the top to 1 at the bottom.
        height: of the plot, in pixels.
    """
    last: dict[str, Mapping[str, Any]] = {}
    for one in values:
        if one["line"] not in last or one["remaining"] < last[one["line"]]["remaining"]:
            last[one["line"]] = one
    if len({one["remaining"] for one in last.values()}) != 1:
        return None
    ends = {line: height * place(one["mean"]) for line, one in last.items()}
    order = sorted(ends, key=lambda line: ends[line])
    wanted = [min(max(ends[line], 0.0), height) for line in order]
    given = _apart(wanted, most=height)
    if any(abs(a - b) > FARTHEST for a, b in zip(wanted, given, strict=True)):
        return None
    return [LineEnd(line=line, at=y, below=ends[line] > height) for line, y in zip(order, given, strict=True)]


def linear(frame: tuple[float, float]) -> Callable[[float], float]:
    """The place of a value on a linear axis with these ends."""
    low, high = frame
    return lambda value: (high - value) / (high - low)


def symlog(frame: tuple[float, float], constant: float) -> Callable[[float], float]:
    """The place of a value on Vega's symlog axis: sign(v) log(1 + |v / constant|)."""

    def bent(value: float) -> float:
        return math.copysign(math.log1p(abs(value / constant)), value)

    inner = linear((bent(frame[0]), bent(frame[1])))
    return lambda value: inner(bent(value))


def _apart(wanted: Sequence[float], *, most: float) -> list[float]:
    """Ascending positions at least ROOM apart, at most `most`, nearest to those wanted: pooled adjacent violators."""
    pools: list[tuple[float, int]] = []
    for at, position in enumerate(wanted):
        mean, count = position - ROOM * at, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    free = [mean for mean, count in pools for _ in range(count)]
    end = most - ROOM * (len(wanted) - 1)
    return [min(base, end) + ROOM * at for at, base in enumerate(free)]


def named_ends(ends: Sequence[LineEnd], styles: Mapping[str, Style]) -> list[alt.Chart]:
    """Symbol and name of each line, to the right of the plot; a click on one picks out its line."""
    values = marks.data([{"line": e.line, "at": e.at, "name": f"{e.line} ↓" if e.below else e.line} for e in ends])
    base = alt.Chart(values, name=NAME)
    colour, _, shape = marks.looks(styles, None)
    y = alt.Y("at:Q", scale=None)
    # Only marks with a tooltip of their own take clicks beside the layer that is picked from.
    hint = [alt.Tooltip("line:N", title="click to single out")]
    symbol = base.mark_point(filled=True, size=60, opacity=1, xOffset=_SYMBOL_AT, cursor="pointer")
    text = base.mark_text(align="left", dx=_TEXT_AT, fontSize=12, color=theme.INK, cursor="pointer")
    return [
        symbol.encode(x=alt.value("width"), y=y, color=colour, shape=shape, tooltip=hint),
        text.encode(x=alt.value("width"), y=y, text="name:N", detail="line:N", tooltip=hint).properties(
            name=f"{NAME}-text"
        ),
    ]

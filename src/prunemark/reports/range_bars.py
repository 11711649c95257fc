"""The chart of the ranges of sparsity (E7): trivial, matching, extreme, and what is not decided."""

from collections.abc import Mapping
from typing import Any

import altair as alt

from prunemark.reports import charts, marks, theme
from prunemark.reports.stretches import remaining, stretches, tested
from prunemark.stats import Ranges
from prunemark.terms.numbers import percent_number

ROW_HEIGHT = 64
# Within a row: its heading, and the bar with the names of long stretches above the dots.
_HEAD, _TOP, _NAME, _DOT, _BOTTOM = 0.3, 0.45, 0.61, 0.81, 0.92
_LEAST_SHARE_FOR_A_NAME = 0.17
_TICKS = 10


def range_bars(subjects: Mapping[str, Ranges], *, title: str, subtitle: str) -> marks.AnyChart | None:
    """A bar a subject over the weights remaining, divided into the ranges; dots are the sparsities that were run (E7).

    None where nothing is decided, or where there is one sparsity only, which makes no axis.
    """
    shown = {name: found for name, found in subjects.items() if tested(found)}
    sparsities = sorted({sparsity for found in shown.values() for sparsity in tested(found)})
    if len(sparsities) < 2 or all(set(tested(found)) == set(found.undecided) for found in shown.values()):
        return None
    x = marks.remaining_weights(sparsities, {}, ticks=_TICKS, sparsity_above=True)
    bars: list[dict[str, Any]] = []
    dots: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    for row, (name, found) in enumerate(shown.items()):
        bars += _bars(name, found, row, x)
        dots += [{"row": row + _DOT, "remaining": remaining(sparsity)} for sparsity in tested(found)]
        highest = found.highest_matching
        text = "none established" if highest is None else f"{percent_number(highest)} %"
        heads.append({"row": row + _HEAD, "head": f"{name}: highest matching sparsity: {text}"})
    return marks.finish(_layers(bars, dots, heads, x), title, subtitle)


def _bars(name: str, found: Ranges, row: int, x: marks.Horizontal) -> list[dict[str, Any]]:
    assert x.ends is not None
    most, least = x.ends
    own = tested(found)
    # A subject's bar reaches a little beyond its own sparsities, not to those of another subject.
    margin = (most / least) ** 0.02
    ends = min(most, remaining(own[0]) * margin), max(least, remaining(own[-1]) / margin)
    bars: list[dict[str, Any]] = []
    for one in stretches(found, own, ends):
        bar = {
            "subject": name,
            "range": one.kind,
            "from": one.start,
            "to": one.end,
            "row": row + _TOP,
            "end": row + _BOTTOM,
            "sparsities": ", ".join(f"{percent_number(sparsity)} %" for sparsity in one.sparsities),
        }
        if one.start / one.end >= (most / least) ** _LEAST_SHARE_FOR_A_NAME:
            bar |= {"name_row": row + _NAME, "middle": (one.start * one.end) ** 0.5}
        bars.append(bar)
    return bars


def _layers(
    bars: list[dict[str, Any]], dots: list[dict[str, Any]], heads: list[dict[str, Any]], x: marks.Horizontal
) -> marks.AnyChart:
    assert x.grounds is not None
    y = alt.Y("row:Q", scale=alt.Scale(domain=[0, len(heads)], reverse=True, nice=False), axis=None)
    kinds = [kind for kind in theme.RANGES if any(bar["range"] == kind for bar in bars)]
    colour = alt.Color(
        "range:N",
        sort=kinds,
        scale=alt.Scale(domain=kinds, range=[theme.RANGES[kind] for kind in kinds]),
        legend=alt.Legend(title="range", symbolType="square", symbolStrokeWidth=0),
    )
    names = [
        {"row": one["name_row"], "remaining": one["middle"], "name": one["range"]} for one in bars if "middle" in one
    ]
    tooltip = [alt.Tooltip("subject:N"), alt.Tooltip("range:N"), alt.Tooltip("sparsities:N")]
    bar, dot, name, head = (alt.Chart(marks.data(rows)) for rows in (bars, dots, names, heads))
    layers = [
        bar.mark_rect().encode(x=x.grounds, x2="to:Q", y=y, y2="end:Q", color=colour, tooltip=tooltip),
        dot.mark_point(filled=True, size=28, opacity=1, color=theme.INK).encode(x=x.first, y=y),
        dot.mark_point(opacity=0).encode(x=x.second, y=y),
        name.mark_text(fontSize=12.5, color=theme.INK).encode(x=x.others, y=y, text="name:N"),
        head.mark_text(align="left", fontSize=12.5, color=theme.INK).encode(x=alt.value(0), y=y, text="head:N"),
    ]
    chart = alt.layer(*layers).properties(width=charts.WIDTH, height=ROW_HEIGHT * len(heads))
    return chart.resolve_axis(x="independent")

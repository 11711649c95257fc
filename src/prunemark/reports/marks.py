"""The marks that charts share: lines with their spread, the dense rule, the matching band, axes of sparsity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import altair as alt

from prunemark.reports import theme
from prunemark.reports.curves import Point
from prunemark.reports.references import Reference
from prunemark.reports.stretches import domain, remaining, stretches
from prunemark.reports.theme import Style
from prunemark.stats import Ranges
from prunemark.terms.numbers import percent_number

ACCURACY = "test accuracy (%)"
_ROOM_FOR_A_NAME = 20
_LINE = "line:N"

AnyChart: TypeAlias = alt.LayerChart | alt.FacetChart | alt.ConcatChart


@dataclass(frozen=True, kw_only=True)
class Horizontal:
    """The horizontal position of a chart's layers; of which the first draws the axis and the second one opposite it.

    On an axis of weights remaining, `grounds` places what reaches from the field `from`, and `ends` are its ends in
    percent; both are None where it shows something else.
    """

    first: alt.X
    second: alt.X
    others: alt.X
    continuous: bool = True
    grounds: alt.X | None = None
    ends: tuple[float, float] | None = None


def value(point: Point, style: Style, **more: Any) -> dict[str, Any]:
    """A point as a datum: `line`, `remaining` (%), `sparsity` (text), `mean`, `low`, `high` (%), `interval` (text),
    `replicates`."""
    return {
        "line": style.display_name,
        "remaining": remaining(point.cell.sparsity),
        "sparsity": f"{percent_number(point.cell.sparsity)} %",
        "mean": round(point.mean, 4),
        "low": round(point.low, 4),
        "high": round(point.high, 4),
        "interval": point.interval,
        "replicates": point.replicates,
        **more,
    }


def data(values: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Values that travel inside the chart."""
    return alt.InlineData(values=[dict(one) for one in values])


def remaining_weights(
    sparsities: Sequence[float], styles: Mapping[str, Style], *, ticks: int, sparsity_above: bool = False
) -> Horizontal:
    """Weights remaining, logarithmic, falling to the right; or the lines' names where there is one sparsity only."""
    shares = sorted({remaining(sparsity) for sparsity in sparsities}, reverse=True)
    if len(shares) == 1:
        names = [style.display_name for style in styles.values()]
        below = alt.Axis(
            title=f"{shares[0]:.3g} % of the weights remaining", labelAngle=-35, labelOverlap=False, grid=False
        )
        x = alt.X(_LINE, sort=names, axis=below)
        return Horizontal(first=x, second=x, others=x, continuous=False)
    ends = domain(shares)
    scale = alt.Scale(type="log", domain=list(ends), nice=False)
    at = _thinned(shares, ticks)
    below = alt.Axis(
        title="weights remaining (%)", values=at, labelExpr=_labels({v: f"{v:.3g}" for v in at}), grid=False
    )
    x = alt.X("remaining:Q", scale=scale, axis=below)
    grounds = alt.X("from:Q", scale=scale, axis=None if sparsity_above else below)
    if not sparsity_above:
        return Horizontal(first=x, second=x, others=x, grounds=grounds, ends=ends)
    above = alt.Axis(
        title="sparsity (%)",
        values=at,
        labelExpr=_labels({v: percent_number(1 - v / 100) for v in at}),
        orient="top",
        offset=_ROOM_FOR_A_NAME,
        domain=False,
        grid=False,
    )
    return Horizontal(first=x, second=x.axis(above), others=x.axis(None), grounds=grounds, ends=ends)


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """The falling values that leave room for their labels: no two closer than 1/`most` of the log axis."""
    kept = [values[0]]
    room = (values[0] / values[-1]) ** (0.999 / most)
    for one in values[1:]:
        if kept[-1] / one >= room:
            kept.append(one)
    return kept


def _labels(texts: Mapping[float, str]) -> str:
    # Texts are numbers that we formatted: nothing to escape.
    expression = "datum.label"
    for at, text in texts.items():
        expression = f"abs(datum.value - {at!r}) < 1e-7 ? '{text}' : {expression}"
    return expression


def lines(
    base: alt.Chart,
    x: Horizontal,
    styles: Mapping[str, Style],
    *,
    legend: str | None,
    over: str,
    measure: str = ACCURACY,
    frame: tuple[float, float] | None = None,
    vertical: alt.Y | None = None,
    number: str = ".2f",
) -> list[alt.Chart]:
    """Bands, lines and points (bars and points on a discrete axis); a click on the legend or a point picks out a line.

    Args:
        base: a chart with the data of `value`, or one that inherits it.
        x: where the data lies.
        styles: of the lines, in the legend's order.
        legend: its title; None where lines are named otherwise.
        over: the field and title of what varies along x, for tooltips, as "sparsity:sparsity".
        measure: what the fields mean, low and high are, as the vertical axis says it.
        frame: the ends of the vertical axis, where not all is to be seen.
        vertical: scale and axis of the vertical axis, where they are others than accuracy's.
        number: how the mean is written.
    """
    colour, dash, shape = looks(styles, legend if x.continuous else None)
    base_y = vertical or alt.Y(scale=_vertical(frame), title=measure)
    mean, low = base_y.field("mean").type("quantitative"), base_y.field("low").type("quantitative")
    field, _, title = over.partition(":")
    tooltip = [
        alt.Tooltip(_LINE, title=legend or "of"),
        alt.Tooltip(f"{field}:N", title=title),
        alt.Tooltip("mean:Q", title=f"mean {measure}", format=number),
        alt.Tooltip("interval:N", title="interval"),
        alt.Tooltip("replicates:Q", title="replicates"),
    ]
    valid = base.transform_filter("isValid(datum.mean)")
    pick = picked()
    strong = alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.1))
    faint = alt.when(pick).then(alt.value(0.16)).otherwise(alt.value(0.02))
    point = valid.mark_point(filled=True, size=60, opacity=1, clip=frame is not None).encode(
        x=x.others, y=mean, color=colour, shape=shape, tooltip=tooltip
    )
    if not x.continuous:
        return [
            valid.mark_rule(strokeWidth=2, clip=frame is not None).encode(x=x.first, y=low, y2="high:Q", color=colour),
            point,
        ]
    return [
        valid.mark_area(clip=frame is not None).encode(x=x.first, y=low, y2="high:Q", color=colour, opacity=faint),
        valid.mark_line(strokeWidth=2, clip=frame is not None).encode(
            x=x.second, y=mean, color=colour, strokeDash=dash, opacity=strong
        ),
        point.encode(opacity=strong).add_params(pick),
    ]


def picked() -> alt.Parameter:
    """The lines that clicks on the legend, on points or on names beside the plot have picked out; all without any."""
    of_a_line = "event.item && event.item.datum && event.item.datum.line"
    return alt.selection_point(name="pick", fields=["line"], bind="legend", on=f"click[{of_a_line}]", toggle="true")


def reference_points(
    found: Sequence[Reference], x: Horizontal, styles: Mapping[str, Style], *, frame: tuple[float, float] | None
) -> list[alt.Chart]:
    """Published runs of the methods that are shown, as open points in the methods' colours and shapes."""
    values = [
        {
            "line": styles[one.method].display_name,
            "remaining": remaining(one.sparsity),
            "sparsity": f"{percent_number(one.sparsity)} %",
            "published": one.accuracy,
            "run": one.run,
        }
        for one in found
        if one.method in styles and one.sparsity > 0
    ]
    if not values:
        return []
    colour, _, shape = looks(styles, None)
    tooltip = [
        alt.Tooltip(_LINE, title="published run of"),
        alt.Tooltip("run:Q", title="run"),
        alt.Tooltip("sparsity:N", title="sparsity"),
        alt.Tooltip("published:Q", title=ACCURACY, format=".2f"),
    ]
    points = alt.Chart(data(values)).mark_point(filled=False, size=70, strokeWidth=1.2, clip=frame is not None)
    y = alt.Y("published:Q", scale=_vertical(frame), title=ACCURACY)
    return [points.encode(x=x.others, y=y, color=colour, shape=shape, tooltip=tooltip)]


def looks(
    styles: Mapping[str, Style], legend: str | None, *, points: bool = True
) -> tuple[alt.Color, alt.StrokeDash, alt.Shape]:
    """Colour, dash and shape of the field `line`, with a legend of that title, or with none.

    The legend shows points, or lines where a chart has no points.
    """
    shown = list(styles.values())
    names = [style.display_name for style in shown]
    symbol: dict[str, Any] = {"symbolStrokeWidth": 0} if points else {"symbolType": "stroke", "symbolSize": 500}
    key = alt.Legend(title=legend, symbolOpacity=1, **symbol) if legend else None

    def scale(values: list[Any]) -> alt.Scale:
        return alt.Scale(domain=names, range=values)

    return (
        alt.Color(_LINE, scale=scale([style.colour for style in shown]), sort=names, legend=key),
        alt.StrokeDash(_LINE, scale=scale([list(style.dash) for style in shown]), sort=names, legend=key),
        alt.Shape(_LINE, scale=scale([style.shape for style in shown]), sort=names, legend=key),
    )


def matching_band(found: Ranges | None, x: Horizontal, sparsities: Sequence[float]) -> list[dict[str, Any]]:
    """The data of `band`: one datum, or none where no sparsity on the axis is known to be matching."""
    if found is None or x.ends is None:
        return []
    return [
        {"from": one.start, "to": one.end, "range": one.kind}
        for one in stretches(found, sorted(set(sparsities)), x.ends)
        if one.kind == "matching"
    ]


def band(base: alt.Chart, x: Horizontal, *, named_at: Literal["top", "bottom"] = "bottom") -> list[alt.Chart]:
    """Shaded from the field `from` to the field `to` (weights remaining), and named by `range` where lines are rare."""
    if x.grounds is None:
        return []
    known = base.transform_filter("isValid(datum.from)")
    # Seen through, so that the grid beneath goes on.
    ground = known.mark_rect(color=theme.GREEN, opacity=0.1).encode(x=x.grounds, x2="to:Q")
    below = named_at == "bottom"
    name = known.mark_text(
        align="left", baseline=named_at, dx=5, dy=-6 if below else 4, fontSize=11.5, color=theme.SOFT
    )
    return [ground, name.encode(x=x.grounds, y=alt.value("height" if below else 0), text="range:N")]


def _vertical(frame: tuple[float, float] | None) -> alt.Scale:
    return alt.Scale(zero=False) if frame is None else alt.Scale(domain=list(frame), nice=False)


def dense_rule(base: alt.Chart, frame: tuple[float, float] | None = None) -> list[alt.Chart]:
    """A dotted rule at the field `dense`, named above the plot, where no line can run through, by the field `text`."""
    known = base.transform_filter("isValid(datum.dense)")
    y = alt.Y("dense:Q", scale=_vertical(frame), title=ACCURACY)
    text = known.mark_text(align="right", baseline="bottom", dy=-4, fontSize=11.5, color=theme.SOFT)
    return [
        known.mark_rule(color=theme.SOFT, strokeDash=[1, 3], strokeWidth=1.5).encode(y=y),
        text.encode(x=alt.value("width"), y=alt.value(0), text="text:N"),
    ]


def note_below(base: alt.Chart) -> alt.Chart:
    """Names of lines below the frame (field `below`), in the lower right corner."""
    known = base.transform_filter("isValid(datum.below)")
    text = known.mark_text(align="right", baseline="bottom", dx=-4, dy=-6, fontSize=11.5, color=theme.SOFT)
    return text.encode(x=alt.value("width"), y=alt.value("height"), text="below:N")


def margin_band(margin: float, scale: alt.Scale) -> list[alt.Chart]:
    """The margin as a band about zero, named, and zero as a rule, on a vertical axis of differences."""
    base = alt.Chart(data([{"from": -margin, "to": margin, "zero": 0, "margin": f"margin ±{margin:g}"}]))
    y = alt.Y("from:Q", scale=scale)
    name = base.mark_text(align="left", baseline="bottom", dx=5, dy=-3, fontSize=11.5, color=theme.SOFT)
    return [
        base.mark_rect(color=theme.GREY, opacity=0.2).encode(y=y, y2="to:Q"),
        base.mark_rule(color=theme.SOFT, strokeWidth=1).encode(y=alt.Y("zero:Q", scale=scale)),
        name.encode(x=alt.value(0), y=y, text="margin:N"),
    ]


def differences_axis(margin: float, ends: tuple[float, float], *, title: str) -> alt.Axis:
    """Signed ticks at 0, at the margin on both sides, and at 1, 3, 10, 30, 100 where they are well beyond it."""
    beyond = [tick for tick in (1, 3, 10, 30, 100) if tick >= 2 * margin]
    ticks = [-tick for tick in reversed(beyond)] + [-margin, 0, margin, *beyond]
    return alt.Axis(
        title=title,
        values=[tick for tick in ticks if ends[0] <= tick <= ends[1]],
        labelExpr="(datum.value > 0 ? '+' : datum.value < 0 ? '−' : '') + abs(datum.value)",
        grid=False,
    )


def finish(chart: AnyChart, title: str, subtitle: str, *, legend: str | None = None) -> AnyChart:
    """The chart with its heading and the common look; `legend` is the title of one that narrow pages show only."""
    finished = chart.properties(title=alt.TitleParams(title, subtitle=subtitle), config=theme.config())
    if legend is None:
        return finished
    return finished.properties(usermeta={"legend": {"title": legend, "symbolOpacity": 1, "symbolStrokeWidth": 0}})

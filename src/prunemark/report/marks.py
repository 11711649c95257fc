"""The marks that charts share: lines with their spread, the dense network's rule, axes of sparsity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt

from prunemark.report import theme
from prunemark.report.curves import Point, sparsity_text
from prunemark.report.theme import Style

ACCURACY = "test accuracy (%)"
_LINE = "line:N"

AnyChart: TypeAlias = alt.LayerChart | alt.FacetChart


@dataclass(frozen=True, kw_only=True)
class Horizontal:
    """The horizontal position of a chart's layers; of which the first draws the axis and the second one opposite it."""

    first: alt.X
    second: alt.X
    others: alt.X
    continuous: bool = True


def value(point: Point, style: Style, **more: Any) -> dict[str, Any]:
    """A point as a datum: `line`, `remaining` (%), `sparsity` (text), `mean`, `low`, `high` (%), `replicates`."""
    return {
        "line": style.label,
        "remaining": round(100 * point.density, 7),
        "sparsity": f"{sparsity_text(point.cell.sparsity)} %",
        "mean": round(point.mean, 4),
        "low": round(point.low, 4),
        "high": round(point.high, 4),
        "replicates": point.replicates,
        **more,
    }


def data(values: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Values that travel inside the chart."""
    return alt.InlineData(values=[dict(one) for one in values])


def remaining_weights(
    cells: Sequence[Point], styles: Mapping[str, Style], *, ticks: int, sparsity_above: bool = False
) -> Horizontal:
    """Weights remaining, logarithmic, falling to the right; or the lines' names where there is one sparsity only."""
    remaining = sorted({round(100 * point.density, 7) for point in cells}, reverse=True)
    if len(remaining) == 1:
        names = [style.label for style in styles.values()]
        below = alt.Axis(
            title=f"{remaining[0]:.3g} % of the weights remaining", labelAngle=-35, labelOverlap=False, grid=False
        )
        x = alt.X(_LINE, sort=names, axis=below)
        return Horizontal(first=x, second=x, others=x, continuous=False)
    margin = (remaining[0] / remaining[-1]) ** 0.02
    scale = alt.Scale(type="log", domain=[remaining[0] * margin, remaining[-1] / margin], nice=False)
    at = _thinned(remaining, ticks)
    below = alt.Axis(
        title="weights remaining (%)", values=at, labelExpr=_labels({v: f"{v:.3g}" for v in at}), grid=False
    )
    x = alt.X("remaining:Q", scale=scale, axis=below)
    if not sparsity_above:
        return Horizontal(first=x, second=x, others=x)
    above = alt.Axis(
        title="sparsity (%)",
        values=at,
        labelExpr=_labels({v: sparsity_text(1 - v / 100) for v in at}),
        orient="top",
        domain=False,
        grid=False,
    )
    return Horizontal(first=x, second=x.axis(above), others=x.axis(None))


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """Those of the falling values that leave room for their labels: no two closer than 1/`most` of the log axis."""
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


def lines(base: alt.Chart, x: Horizontal, styles: Mapping[str, Style], *, legend: str, over: str) -> list[alt.Chart]:
    """Bands, lines and points (bars and points on a discrete axis); a click on the legend picks out a line.

    Args:
        base: a chart with the data of `value`, or one that inherits it.
        x: where the data lies.
        styles: of the lines, in the legend's order.
        legend: its title.
        over: the field and title of what varies along x, for tooltips, as "sparsity:sparsity".
    """
    shown = list(styles.values())
    names = [style.label for style in shown]
    key = alt.Legend(title=legend, symbolOpacity=1, symbolStrokeWidth=0) if x.continuous else None
    colour = alt.Color(_LINE, scale=alt.Scale(domain=names, range=[s.colour for s in shown]), sort=names, legend=key)
    shape = alt.Shape(_LINE, scale=alt.Scale(domain=names, range=[s.shape for s in shown]), sort=names, legend=key)
    dashes = alt.Scale(domain=names, range=[list(s.dash) for s in shown])
    dash = alt.StrokeDash(_LINE, scale=dashes, sort=names, legend=key)
    mean, low = (alt.Y(f"{field}:Q", scale=alt.Scale(zero=False), title=ACCURACY) for field in ("mean", "low"))
    field, _, title = over.partition(":")
    tooltip = [
        alt.Tooltip(_LINE, title=legend),
        alt.Tooltip(f"{field}:N", title=title),
        alt.Tooltip("mean:Q", title="mean accuracy (%)", format=".2f"),
        alt.Tooltip("low:Q", title="worst replicate (%)", format=".2f"),
        alt.Tooltip("high:Q", title="best replicate (%)", format=".2f"),
        alt.Tooltip("replicates:Q", title="replicates"),
    ]
    valid = base.transform_filter("isValid(datum.mean)")
    pick = alt.selection_point(name="pick", fields=["line"], bind="legend")
    strong = alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.1))
    faint = alt.when(pick).then(alt.value(0.16)).otherwise(alt.value(0.02))
    point = valid.mark_point(filled=True, size=60, opacity=1).encode(
        x=x.others, y=mean, color=colour, shape=shape, tooltip=tooltip
    )
    if not x.continuous:
        return [valid.mark_rule(strokeWidth=2).encode(x=x.first, y=low, y2="high:Q", color=colour), point]
    return [
        valid.mark_area().encode(x=x.first, y=low, y2="high:Q", color=colour, opacity=faint),
        valid.mark_line(strokeWidth=2).encode(x=x.second, y=mean, color=colour, strokeDash=dash, opacity=strong),
        point.encode(opacity=strong).add_params(pick),
    ]


def dense_rule(base: alt.Chart) -> list[alt.Chart]:
    """A dotted rule at the field `dense`, named by the field `text` where there is one."""
    known = base.transform_filter("isValid(datum.dense)")
    y = alt.Y("dense:Q", scale=alt.Scale(zero=False), title=ACCURACY)
    text = known.mark_text(align="right", baseline="bottom", dy=-3, fontSize=11.5, color=theme.SOFT)
    return [
        known.mark_rule(color=theme.SOFT, strokeDash=[1, 3], strokeWidth=1.5).encode(y=y),
        text.encode(x=alt.value("width"), y=y, text="text:N"),
    ]


def finish(chart: AnyChart, title: str, subtitle: str) -> AnyChart:
    """The chart with its heading and the common look."""
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle), config=theme.config())


def profile(layers: Sequence[str], styles: Mapping[str, Style]) -> list[alt.Chart]:
    """Lines of the field `density` (%) over the network's layers, from 0 through ever finer shares up to 100 %."""
    shown = list(styles.values())
    names = [style.label for style in shown]
    key = alt.Legend(title="pruned by", symbolOpacity=1, symbolStrokeWidth=0)
    colour = alt.Color(_LINE, scale=alt.Scale(domain=names, range=[s.colour for s in shown]), sort=names, legend=key)
    shape = alt.Shape(_LINE, scale=alt.Scale(domain=names, range=[s.shape for s in shown]), sort=names, legend=key)
    dashes = alt.Scale(domain=names, range=[list(s.dash) for s in shown])
    x = alt.X("layer:O", sort=list(layers), axis=alt.Axis(title="layer", labelAngle=-45, labelFontSize=10, grid=False))
    # Layer collapse is exactly 0 and must be seen: symlog has a place for it, a logarithm has none.
    y = alt.Y(
        "density:Q",
        scale=alt.Scale(type="symlog", constant=0.1, domain=[0, 100], nice=False),
        axis=alt.Axis(title="weights kept in the layer (%)", values=[0, 0.1, 1, 10, 100], format=".1~r"),
    )
    tooltip = [alt.Tooltip(_LINE), alt.Tooltip("layer:N"), alt.Tooltip("density:Q", title="kept (%)", format=".3~r")]
    base = alt.Chart()
    return [
        base.mark_line(strokeWidth=1.5).encode(
            x=x, y=y, color=colour, strokeDash=alt.StrokeDash(_LINE, scale=dashes, sort=names, legend=key)
        ),
        base.mark_point(filled=True, size=40, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    ]

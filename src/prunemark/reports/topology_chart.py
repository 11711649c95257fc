"""Chart of a subnetwork: the density of each layer, and the share of it that is connected."""

import textwrap
from typing import TYPE_CHECKING, Any

import altair as alt

from prunemark.reports.theme import BLUE, FONT, GRID, INK, SOFT, VERMILION

if TYPE_CHECKING:
    from prunemark.connectivity.layers import LayerTopology
    from prunemark.connectivity.summary import Topology

_KEPT, _EFFECTIVE = "kept", "on a path from input to output"
_WIDTH = 560
_TICKS = (0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 100)
# Of the axis: nearer ticks than that would write into each other.
_TICK_DISTANCE = 0.075


def density_chart(topology: "Topology", *, limit: float | None = None) -> alt.LayerChart | alt.FacetChart:
    """Two marks per layer: the density of its mask and, where known, its effective density (weights on a path).

    The scale is that of the square root, so that layers with a thousandth of their weights can be told from empty ones.
    It ends at `limit`, in percent; by default at a round number above the highest density.
    """
    step, label_size, ring_size = (20, 12, 110) if len(topology.layers) <= 40 else (13, 10, 70)
    points = [point for layer in topology.layers for point in _points(layer)]
    highest = max(point["density"] for point in points)
    limit = limit or next((tick for tick in _TICKS[1:] if tick >= highest), 100)
    x = alt.X(
        "density:Q",
        scale=alt.Scale(type="sqrt", domain=[0, limit], nice=False),
        axis=alt.Axis(
            title="share of the layer's weights",
            values=_ticks(limit),
            labelExpr="datum.value + ' %'",
            labelOverlap=False,
        ),
    )
    y = alt.Y(
        "layer:N",
        sort=None,
        axis=alt.Axis(title=None, labelLimit=260, labelPadding=12, ticks=False, domain=False, grid=True),
    )
    legend = alt.Legend(title=None, orient="top", symbolSize=90, symbolOpacity=1)
    filled = alt.Legend(title=None, orient="top", symbolSize=90, symbolOpacity=1, symbolStrokeColor=VERMILION)
    tooltip = ["layer:N", "what:N", alt.Tooltip("density:Q", format=".4g", title="%"), "weights:N"]
    marks = alt.Chart().encode(x=x, y=y)
    kept = marks.transform_filter(f"datum.what === '{_KEPT}'")
    effective = marks.transform_filter(f"datum.what === '{_EFFECTIVE}'")
    layers = [
        kept.mark_rule(color=SOFT, strokeWidth=2, opacity=0.45).encode(x2="low:Q"),
        # A ring, so that the other mark shows where the two coincide.
        kept.mark_point(shape="circle", size=ring_size, strokeWidth=2, opacity=1).encode(
            stroke=alt.Stroke("what:N", scale=alt.Scale(domain=[_KEPT], range=[BLUE]), legend=legend), tooltip=tooltip
        ),
        effective.mark_point(shape="diamond", size=ring_size / 2, opacity=1, strokeWidth=0).encode(
            fill=alt.Fill("what:N", scale=alt.Scale(domain=[_EFFECTIVE], range=[VERMILION]), legend=filled),
            tooltip=tooltip,
        ),
        kept.mark_text(align="left", dx=12, color=SOFT, fontSize=11).encode(text="note:N"),
    ]
    if topology.effective is None:
        del layers[2]
    return (
        alt.layer(*layers, data=alt.Data(values=points))
        .properties(width=_WIDTH, height=alt.Step(step), title=_title(topology))
        .configure(font=FONT, background="white", padding=12)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=SOFT,
            titleColor=INK,
            gridColor=GRID,
            domainColor=SOFT,
            tickColor=SOFT,
            titleFontSize=13,
            titleFontWeight="normal",
            titlePadding=10,
        )
        .configure_axisX(labelFontSize=12)
        .configure_axisY(labelFontSize=label_size)
        .configure_legend(labelColor=INK, labelFontSize=12, labelLimit=320)
    )


def _points(layer: "LayerTopology") -> list[dict[str, Any]]:
    counts = {_KEPT: layer.kept} | ({} if layer.effective is None else {_EFFECTIVE: layer.effective})
    return [
        {
            "layer": layer.label,
            "what": what,
            "density": 100 * count / layer.total,
            "low": 0 if layer.effective_density is None else 100 * layer.effective_density,
            "weights": f"{count:,} of {layer.total:,}",
            "note": "fully pruned" if layer.collapsed else "no path" if layer.disconnected else "",
        }
        for what, count in counts.items()
    ]


def _ticks(limit: float) -> list[float]:
    chosen = [limit]
    for tick in reversed(_TICKS):
        if tick < limit and (chosen[-1] / limit) ** 0.5 - (tick / limit) ** 0.5 >= _TICK_DISTANCE:
            chosen.append(tick)
    return chosen if chosen[-1] == 0 else [*chosen[:-1], 0]


def _title(topology: "Topology") -> alt.TitleParams:
    # The name column comes on top of the plot's width; two sentences are what a picture's head can hold.
    lines = [line for sentence in topology.findings[:2] for line in textwrap.wrap(sentence, 100)]
    return alt.TitleParams(
        f"{topology.model}: how dense its layers are"
        + ("" if topology.effective is None else ", and what of that is connected"),
        subtitle=lines,
        anchor="start",
        frame="bounds",
        fontSize=16,
        fontWeight="bold",
        color=INK,
        subtitleColor=SOFT,
        subtitleFontSize=12,
        subtitlePadding=6,
        offset=12,
    )

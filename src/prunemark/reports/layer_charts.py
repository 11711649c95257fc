"""Charts of kept weights (E5): densities of layers, effective density, kept inputs per unit, dead units."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from prunemark.reports import charts, curves, marks, theme
from prunemark.reports.layers import KeptLayers
from prunemark.reports.stretches import remaining
from prunemark.stats import Ranges
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.numbers import percent_number

DEAD_UNITS = "units without a kept input (%)"
OFF_PATH = "units on no path (%)"
ON_PATH = "kept weights on a path (%)"
_ROOMY = 30
_TICKS = 5
_EVERY_COUNT_TO, _STEP = 16, 1.15


def layer_density_panels(cells: Sequence[KeptLayers], *, title: str, subtitle: str) -> marks.AnyChart | None:
    """Share of each layer's weights that is kept, unmodified: one panel per sparsity, row per layer, dot per method."""
    shown = [one for one in cells if one.cell.ablation == UNMODIFIED]
    if not shown:
        return None
    styles = theme.series_styles(one.series for one in shown)
    names = list(dict.fromkeys(layer for one in shown for layer in one.densities))
    panels = {s: f"sparsity {percent_number(s)} %" for s in sorted({one.cell.sparsity for one in shown})}
    values = [
        {
            "line": styles[one.series].display_name,
            "panel": panels[one.cell.sparsity],
            "layer": layer,
            "density": round(density, 6),
        }
        for one in shown
        for layer, density in one.densities.items()
    ]
    colour, _, shape = marks.looks(styles, "pruned by")
    row, label = (24, 11) if len(names) <= 6 else (18, 11) if len(names) <= _ROOMY else (13, 9)
    y = alt.Y("layer:O", sort=names, axis=alt.Axis(title=None, labelFontSize=label, labelLimit=150, grid=True))
    # Layer collapse is exactly 0 and must be seen: symlog has a place for it, a logarithm has none.
    x = alt.X(
        "density:Q",
        scale=alt.Scale(type="symlog", constant=0.1, domain=[0, 100], nice=False),
        axis=alt.Axis(title="weights kept in the layer (%)", values=[0, 0.1, 1, 10, 100], format=".1~r", grid=False),
    )
    tooltip = [alt.Tooltip("line:N"), alt.Tooltip("layer:N"), alt.Tooltip("density:Q", title="kept (%)", format=".3~r")]
    pick = marks.picked()
    strong = alt.when(pick).then(alt.value(0.85)).otherwise(alt.value(0.08))
    dots = alt.Chart().mark_point(filled=True, size=55)
    drawn = [dots.encode(x=x, y=y, color=colour, shape=shape, opacity=strong, tooltip=tooltip).add_params(pick)]
    chart = charts.faceted(drawn, values, list(panels.values()), height=row * len(names))
    return marks.finish(chart, title, subtitle)


def kept_inputs_panels(
    cells: Sequence[KeptLayers], *, sparsity: float, title: str, subtitle: str
) -> marks.AnyChart | None:
    """Cumulative distribution of kept inputs per unit at one sparsity: one panel per method, one line per mask (E5).

    At each number of inputs (logarithmic, with a place for 0) stands the share of the network's units that keep at most
    that many; at 0 it is the share of dead units. Replicates are pooled.
    """
    shown = [one for one in cells if one.cell.sparsity == sparsity]
    if not shown:
        return None
    panels = {name: style.display_name for name, style in theme.series_styles(one.series for one in shown).items()}
    styles = theme.ablation_styles(one.cell.ablation for one in shown)
    most = max(kept for one in shown for kept in one.units)
    values: list[dict[str, Any]] = [
        {
            "line": styles[one.cell.ablation].display_name,
            "panel": panels[one.series],
            "inputs": inputs,
            "share": round(one.at_most(inputs), 4),
        }
        for one in shown
        for inputs in _counts(most)
    ]
    colour, dash, _ = marks.looks(styles, "mask", points=False)
    ticks = [tick for tick in (0, *(10**e * f for e in range(7) for f in (1, 3))) if tick <= most]
    x = alt.X(
        "inputs:Q",
        scale=alt.Scale(type="symlog", constant=1, domain=[0, most], nice=False),
        axis=alt.Axis(title="kept inputs of a unit", values=ticks, format=",d", grid=False),
    )
    y = alt.Y("share:Q", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(title="units with at most as many (%)"))
    tooltip = [
        alt.Tooltip("line:N", title="mask"),
        alt.Tooltip("inputs:Q", title="kept inputs"),
        alt.Tooltip("share:Q", title="units with at most as many (%)", format=".1f"),
    ]
    line = alt.Chart().mark_line(strokeWidth=2, interpolate="step-after")
    drawn = [line.encode(x=x, y=y, color=colour, strokeDash=dash, tooltip=tooltip)]
    return marks.finish(charts.faceted(drawn, values, list(panels.values())), title, subtitle)


def _counts(most: int) -> list[int]:
    """0 to `most`: every count while there are few, then in steps of an even ratio."""
    counts = list(range(min(most, _EVERY_COUNT_TO) + 1))
    while counts[-1] < most:
        counts.append(min(most, round(counts[-1] * _STEP)))
    return counts


def on_path_panels(
    cells: Sequence[KeptLayers], *, ranges: Ranges | None = None, title: str, subtitle: str
) -> marks.AnyChart | None:
    """Effective density: the share of kept weights that are on a path from input to output, against sparsity.

    One panel per mask; None where paths were not followed (E5).
    """
    found = [(one, one.on_path) for one in cells if one.on_path]
    return _over_sparsities(found, ON_PATH, ranges, title, subtitle, named_at="bottom")


def dead_unit_panels(
    cells: Sequence[KeptLayers], *, ranges: Ranges | None = None, title: str, subtitle: str
) -> marks.AnyChart | None:
    """Neuron collapse: the share of dead units against sparsity; one panel per mask (E5).

    Dead are units on no path from input to output; where paths were not followed, those that keep no input.
    """
    if followed(cells):
        return _over_sparsities([(one, one.off_path) for one in cells], OFF_PATH, ranges, title, subtitle)
    return _over_sparsities([(one, one.dead) for one in cells if one.dead], DEAD_UNITS, ranges, title, subtitle)


def followed(cells: Sequence[KeptLayers]) -> bool:
    """True if the paths of all masks were followed."""
    return all(one.off_path for one in cells)


def _over_sparsities(
    found: Sequence[tuple[KeptLayers, Mapping[int, float]]],
    measure: str,
    ranges: Ranges | None,
    title: str,
    subtitle: str,
    *,
    named_at: Literal["top", "bottom"] = "top",
) -> marks.AnyChart | None:
    shown = [one for one, _ in found]
    sparsities = [one.cell.sparsity for one in shown]
    if len(set(sparsities)) < 2:
        return None
    styles = theme.series_styles(one.series for one in shown)
    names = {
        name: style.display_name for name, style in theme.ablation_styles(one.cell.ablation for one in shown).items()
    }
    x = marks.remaining_weights(sparsities, styles, ticks=_TICKS)
    values = [
        _value(one, spread, styles[one.series].display_name) | {"panel": names[one.cell.ablation]}
        for one, shares in found
        if (spread := curves.spread(shares))
    ]
    shaded = marks.matching_band(ranges, x, sparsities)
    values += [one | {"panel": panel} for one in shaded for panel in names.values()]
    drawn = marks.band(alt.Chart(), x, named_at=named_at)
    drawn += marks.lines(alt.Chart(), x, styles, legend="pruned by", over="sparsity:sparsity", measure=measure)
    return marks.finish(charts.faceted(drawn, values, list(names.values())), title, subtitle)


def _value(one: KeptLayers, spread: curves.Spread, line: str) -> dict[str, Any]:
    return {
        "line": line,
        "remaining": remaining(one.cell.sparsity),
        "sparsity": f"{percent_number(one.cell.sparsity)} %",
        "mean": round(spread.mean, 4),
        "low": round(spread.low, 4),
        "high": round(spread.high, 4),
        "interval": spread.text,
        "replicates": len(spread.values),
    }


def shown_sparsity(shown: Sequence[curves.OfCell], highest_matching: float | None) -> float:
    """The sparsity of charts that show one: the highest matching one, or else the highest."""
    found = {one.cell.sparsity for one in shown}
    return highest_matching if highest_matching in found else max(found)

"""Charts of accuracy against sparsity (E1, E2, E3, E6), as altair objects: functions of tables and nothing else.

Where sparsity is an axis it is drawn as in the paper: the share of weights that remains, on a logarithmic scale,
falling to the right, so that each equal step prunes an equal share of what is left. Points are means over replicates;
bands and bars are their intervals, those of verdicts. What collapses runs out of the frame where it would squeeze
all else, see `curves.frame`. Each function returns None where there is nothing to draw.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import altair as alt

from prunemark.reports import curves, marks, theme
from prunemark.reports.curves import Point
from prunemark.reports.families import variants
from prunemark.reports.line_ends import line_ends, linear, named_ends, symlog
from prunemark.reports.references import references
from prunemark.reports.stretches import remaining
from prunemark.stats import Finding, Ranges
from prunemark.stats.effects import FEWEST_REPLICATES, Effect, Standard
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.numbers import percent, pp

if TYPE_CHECKING:
    from pandas import DataFrame

Draw: TypeAlias = Callable[[str, str], marks.AnyChart | None]
"""Draws a chart under a title and a subtitle."""

WIDTH, HEIGHT = 640, 380
PANEL_WIDTH, NARROW_PANEL_WIDTH, PANEL_HEIGHT = 260, 205, 190
_TICKS, _PANEL_TICKS = 10, 5
_PRUNED_BY = "pruned by"
_TO_THE_MARK = "minus magnitude after training (points)"


def accuracy_chart(
    results: "DataFrame",
    *,
    ranges: Ranges | None = None,
    standard: Standard | None = None,
    title: str,
    subtitle: str,
) -> marks.AnyChart | None:
    """Accuracy against sparsity: every method and benchmark, unmodified, with the dense network as a rule (E1).

    Methods are shown at initialisation, or at the earliest step that the study prunes at. Where `ranges` has matching
    sparsities they are shaded. A study with one sparsity gets a column a method in place of a curve. Published numbers
    that ship with a study are drawn, too, see `references`. Lines are named at their ends where that leaves them room.
    """
    cells = curves.points(results, standard)
    shown = unmodified(cells)
    if not shown:
        return None
    styles = theme.series_styles(point.series for point in shown)
    values = [marks.value(point, styles[point.series]) for point in shown]
    sparsities = [point.cell.sparsity for point in shown]
    x = marks.remaining_weights(sparsities, styles, ticks=_TICKS, sparsity_above=True)
    shaded = marks.matching_band(ranges, x, sparsities)
    layers = marks.band(alt.Chart(marks.data(shaded)), x) if shaded else []
    dense = curves.dense(cells)
    frame = curves.frame(shown, dense) or curves.whole(shown, dense)
    ends = line_ends(values, linear(frame), height=HEIGHT) if x.continuous else None
    legend = None if ends else _PRUNED_BY
    drawn = alt.Chart(marks.data(values))
    layers += marks.lines(drawn, x, styles, legend=legend, over="sparsity:sparsity", frame=frame)
    layers += marks.reference_points(references(results), x, styles, frame=frame)
    if dense is not None:
        layers += marks.dense_rule(alt.Chart(marks.data([dense_value(dense)])), frame)
    layers += named_ends(ends, styles) if ends else []
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    if x.continuous:
        chart = chart.resolve_axis(x="independent")
    return marks.finish(chart, title, subtitle, legend=_PRUNED_BY if ends else None)


def difference_chart(
    findings: Sequence[Finding], *, ranges: Ranges | None = None, title: str, subtitle: str
) -> marks.AnyChart | None:
    """Difference of each method to the mark against sparsity, with the margin as a band: claim C2 cell by cell.

    Differences are paired, in percentage points, with the intervals that verdicts use. The scale is linear within the
    margin and logarithmic beyond, so that a loss of 50 points leaves the margin visible.
    """
    measured = [(one, found) for one in findings if one.claim == "C2" and (found := one.effect) and found.replicates]
    if not measured:
        return None
    styles = theme.series_styles(one.subject for one, _ in measured)
    margin = measured[0][0].margin
    values = [_difference(one, found, styles[one.subject].display_name) for one, found in measured]
    sparsities = [one.sparsities[0] for one, _ in measured]
    x = marks.remaining_weights(sparsities, styles, ticks=_TICKS, sparsity_above=True)
    low = min(-1.6 * margin, *(1.15 * one["low"] for one in values))
    high = max(1.6 * margin, *(1.15 * one["high"] for one in values))
    scale = alt.Scale(type="symlog", constant=margin, domain=[low, high], nice=False)
    y = alt.Y(scale=scale, axis=marks.differences_axis(margin, (low, high), title=_TO_THE_MARK))
    height = HEIGHT * 4 // 5
    ends = line_ends(values, symlog((low, high), margin), height=height) if x.continuous else None
    legend = None if ends else _PRUNED_BY
    shaded = marks.matching_band(ranges, x, sparsities)
    layers = marks.band(alt.Chart(marks.data(shaded)), x, named_at="top") if shaded else []
    layers += marks.margin_band(margin, scale)
    drawn = alt.Chart(marks.data(values))
    layers += marks.lines(
        drawn, x, styles, legend=legend, over="sparsity:sparsity", measure="difference", vertical=y, number="+.2f"
    )
    layers += named_ends(ends, styles) if ends else []
    chart = alt.layer(*layers).properties(width=WIDTH, height=height)
    if x.continuous:
        chart = chart.resolve_axis(x="independent")
    return marks.finish(chart, title, subtitle, legend=_PRUNED_BY if ends else None)


def _difference(finding: Finding, found: Effect, line: str) -> dict[str, Any]:
    known = math.isfinite(found.low)
    low, high = (found.low, found.high) if known else (found.difference, found.difference)
    (sparsity,) = finding.sparsities
    return {
        "line": line,
        "remaining": remaining(sparsity),
        "sparsity": percent(sparsity),
        "mean": round(found.difference, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "interval": f"{pp(low)} to {pp(high)}" if known else f"none below {FEWEST_REPLICATES} replicates",
        "replicates": found.replicates,
    }


def ablation_panels(
    results: "DataFrame",
    *,
    benchmarks: bool = False,
    ranges: Ranges | None = None,
    standard: Standard | None = None,
    title: str,
    subtitle: str,
) -> marks.AnyChart | None:
    """Accuracy of ablated subnetworks against sparsity: one panel per method (E2) or per benchmark (E3).

    Only what has an ablated run gets a panel; all panels share the scale of accuracy.
    """
    cells = curves.points(results, standard)
    shown = ablated(cells, benchmarks=benchmarks)
    if not shown:
        return None
    panels = {name: style.display_name for name, style in theme.series_styles(p.series for p in shown).items()}
    styles = theme.ablation_styles(point.cell.ablation for point in shown)
    values = [marks.value(p, styles[p.cell.ablation], panel=panels[p.series]) for p in shown]
    names = list(panels.values())
    return _panels(cells, shown, values, names, styles, ranges, legend="subnetwork", title=title, subtitle=subtitle)


def variant_panels(
    results: "DataFrame",
    *,
    families: Mapping[str, Sequence[str]],
    ranges: Ranges | None = None,
    standard: Standard | None = None,
    title: str,
    subtitle: str,
) -> marks.AnyChart | None:
    """Accuracy against sparsity of the variants of each method: one panel per family, one line per variant (E6).

    A variant looks the same in all panels. Each panel has its own scale of accuracy, from which variants that classify
    less than half of what the dense network classifies may run out.
    `families` are the methods' labels by family, as `prunemark.reports.families.families` finds them.
    """
    cells = curves.points(results, standard)
    mine = [point for point in curves.earliest(cells) if _is_unmodified(point) and not point.cell.benchmark]
    names = {label: name for family, labels in families.items() for label, name in variants(family, labels).items()}
    shown = [point for point in mine if point.series in names]
    if not shown:
        return None
    styles = theme.variant_styles(names[point.series] for point in shown)
    x = marks.remaining_weights([point.cell.sparsity for point in shown], styles, ticks=_PANEL_TICKS)
    dense = curves.dense(cells)
    panels: list[marks.AnyChart] = []
    for family, labels in families.items():
        members = [point for point in shown if point.series in labels]
        if not members:
            continue
        values = [
            marks.value(point, styles[names[point.series]], panel=theme.display_name(family)) for point in members
        ]
        values += marks.matching_band(ranges, x, [point.cell.sparsity for point in members])
        values += [dense_value(dense)] if dense else []
        frame = curves.frame(members, dense, may_leave=curves.below_half(members, dense))
        layers = marks.band(alt.Chart(), x)
        layers += marks.lines(alt.Chart(), x, styles, legend="variant", over="sparsity:sparsity", frame=frame)
        layers += marks.dense_rule(alt.Chart(), frame)
        heading = alt.TitleParams(theme.display_name(family), fontSize=14)
        panel = alt.layer(*layers, data=marks.data(values), title=heading)
        panels.append(panel.properties(width=NARROW_PANEL_WIDTH, height=PANEL_HEIGHT))
    with warnings.catch_warnings():
        # That a click on the legend picks out one line in all panels is what is wanted.
        warnings.filterwarnings("ignore", "Automatically deduplicated selection parameter")
        side_by_side = alt.concat(*panels, columns=3)
    return marks.finish(side_by_side, title, subtitle)


def _panels(
    cells: Sequence[Point],
    shown: Sequence[Point],
    values: list[dict[str, Any]],
    panels: list[str],
    styles: Mapping[str, theme.Style],
    ranges: Ranges | None,
    *,
    legend: str,
    title: str,
    subtitle: str,
) -> marks.AnyChart:
    sparsities = [point.cell.sparsity for point in shown]
    x = marks.remaining_weights(sparsities, styles, ticks=_PANEL_TICKS)
    common = marks.matching_band(ranges, x, sparsities)
    if (dense := curves.dense(cells)) is not None:
        common.append(dense_value(dense))
    frame = curves.frame(shown, dense)
    values += [{"panel": panel, "below": text} for panel, text in _below(values, frame, shown[0].unit).items()]
    values += [one | {"panel": panel} for one in common for panel in panels]
    layers = marks.band(alt.Chart(), x)
    layers += marks.lines(alt.Chart(), x, styles, legend=legend, over="sparsity:sparsity", frame=frame)
    layers += [*marks.dense_rule(alt.Chart(), frame), marks.note_below(alt.Chart())]
    return marks.finish(faceted(layers, values, panels), title, subtitle)


def unmodified(cells: Sequence[Point]) -> list[Point]:
    """The points that `accuracy_chart` shows."""
    return [point for point in curves.earliest(cells) if _is_unmodified(point)]


def ablated(cells: Sequence[Point], *, benchmarks: bool) -> list[Point]:
    """The points that `ablation_panels` shows: all of each method, or benchmark, that has an ablated run."""
    mine = [point for point in curves.earliest(cells) if bool(point.cell.benchmark) == benchmarks]
    series = {point.series for point in mine if not _is_unmodified(point)}
    return [point for point in mine if point.series in series]


def _below(values: Sequence[Mapping[str, Any]], frame: tuple[float, float] | None, unit: str) -> dict[str, str]:
    """Lines that are wholly below the frame, for each panel that has any."""
    if frame is None:
        return {}
    highest: dict[tuple[str, str], float] = {}
    for one in values:
        line = one["panel"], one["line"]
        highest[line] = max(one["mean"], highest.get(line, -math.inf))
    below: dict[str, list[str]] = {}
    for (panel, line), mean in highest.items():
        if mean < frame[0]:
            below.setdefault(panel, []).append(f"{line}, at most {mean:.0f} {unit}")
    return {panel: f"below: {'; '.join(lines)}" for panel, lines in below.items()}


def _is_unmodified(point: Point) -> bool:
    return point.cell.ablation == UNMODIFIED


def dense_value(dense: Point) -> dict[str, Any]:
    """The datum of `marks.dense_rule`."""
    return {"dense": round(dense.mean, 4), "text": f"dotted: dense network {dense.mean:.1f} {dense.unit}"}


def faceted(
    layers: list[alt.Chart],
    values: list[dict[str, Any]],
    panels: list[str],
    *,
    own_scales: bool = False,
    height: int = PANEL_HEIGHT,
) -> alt.FacetChart:
    """The layers once for each value of the field `panel`, up to three panels in a row; `own_scales` are vertical."""
    columns = len(panels) if len(panels) <= 3 else 2 if len(panels) == 4 else 3
    width = PANEL_WIDTH if columns == 3 else PANEL_WIDTH * 5 // 4
    if own_scales and columns == 3:
        width = NARROW_PANEL_WIDTH
    facet = alt.Facet("panel:N", sort=panels, title=None)
    chart = alt.layer(*layers, data=marks.data(values)).properties(width=width, height=height)
    chart = chart.facet(facet=facet, columns=columns)
    return chart.resolve_scale(y="independent") if own_scales else chart

"""The study's charts, as altair objects: functions of tables and nothing else.

Where sparsity is an axis it is drawn as in the paper: the share of weights that remains, on a logarithmic scale,
falling to the right, so that each equal step prunes an equal share of what is left. Points are means over replicates;
bands and bars reach from the worst replicate to the best. Each function returns None where there is nothing to draw.
"""

from typing import TYPE_CHECKING, Any

import altair as alt

from prunemark.report import curves, marks, theme
from prunemark.report.curves import Point
from prunemark.steps import Step

if TYPE_CHECKING:
    from pandas import DataFrame

WIDTH, HEIGHT = 640, 380
PANEL_WIDTH, PANEL_HEIGHT = 260, 190
_TICKS, _PANEL_TICKS = 10, 5


def accuracy_chart(results: "DataFrame", *, title: str, subtitle: str) -> marks.AnyChart | None:
    """Accuracy against sparsity: every method and benchmark, unmodified, with the dense network as a rule (E1).

    Methods are shown at initialisation, or at the earliest step that the study prunes at. A study with one sparsity
    gets a column a method in place of a curve.
    """
    cells = curves.points(results)
    shown = [point for point in curves.earliest(cells) if point.cell.ablation == "unmodified"]
    if not shown:
        return None
    styles = theme.series_styles(point.series for point in shown)
    values = marks.data([marks.value(point, styles[point.series]) for point in shown])
    x = marks.remaining_weights(shown, styles, ticks=_TICKS, sparsity_above=True)
    layers = marks.lines(alt.Chart(values), x, styles, legend="pruned by", over="sparsity:sparsity")
    dense = curves.dense(cells)
    if dense is not None:
        layers += marks.dense_rule(alt.Chart(marks.data([_dense_value(dense)])))
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    if x.continuous:
        chart = chart.resolve_axis(x="independent")
    return marks.finish(chart, title, subtitle)


def ablation_panels(
    results: "DataFrame", *, benchmarks: bool = False, title: str, subtitle: str
) -> marks.AnyChart | None:
    """What shuffling, reinitialising and inverting do: a panel a method (E2), or a panel a benchmark (E3).

    Only what has an ablated run gets a panel; all panels share the scale of accuracy.
    """
    cells = curves.points(results)
    mine = [point for point in curves.earliest(cells) if bool(point.cell.benchmark) == benchmarks]
    ablated = {point.series for point in mine if point.cell.ablation != "unmodified"}
    shown = [point for point in mine if point.series in ablated]
    if not shown:
        return None
    panels = {name: style.label for name, style in theme.series_styles(p.series for p in shown).items()}
    styles = theme.ablation_styles(point.cell.ablation for point in shown)
    values = [marks.value(p, styles[p.cell.ablation], panel=panels[p.series]) for p in shown]
    dense = curves.dense(cells)
    if dense is not None:
        values += [_dense_value(dense) | {"panel": panel} for panel in panels.values()]
    x = marks.remaining_weights(shown, styles, ticks=_PANEL_TICKS)
    layers = marks.lines(alt.Chart(), x, styles, legend="subnetwork", over="sparsity:sparsity")
    layers += marks.dense_rule(alt.Chart())
    return marks.finish(_faceted(layers, values, list(panels.values())), title, subtitle)


def pruning_step_chart(results: "DataFrame", *, sparsity: float, title: str, subtitle: str) -> marks.AnyChart | None:
    """Accuracy against the step at which pruning happens: every method, at one sparsity (E4).

    Benchmarks, which are pruned after training whatever the step, run across as level lines. Steps in one unit lie on
    an axis that is linear up to the first step after initialisation and logarithmic beyond; steps in several units,
    or "end", are spaced evenly.
    """
    cells = curves.points(results)
    steps = curves.steps(cells)
    shown = [
        p for p in curves.pruned(cells) if p.cell.ablation == "unmodified" and p.cell.sparsity == round(sparsity, 9)
    ]
    if len(steps) < 2 or not shown:
        return None
    styles = theme.series_styles(point.series for point in shown)
    values = [
        marks.value(point, styles[point.series], step=step, count=Step.parse(step).count, when=curves.step_words(step))
        for point in shown
        for step in (steps if point.cell.benchmark else [point.cell.prune_at])
    ]
    layers = marks.lines(
        alt.Chart(marks.data(values)), _step_axis(steps), styles, legend="pruned by", over="when:pruned"
    )
    dense = curves.dense(cells)
    if dense is not None:
        layers += marks.dense_rule(alt.Chart(marks.data([_dense_value(dense)])))
    return marks.finish(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), title, subtitle)


def _step_axis(steps: list[str]) -> marks.Horizontal:
    parsed = [Step.parse(step) for step in steps]
    units = {step.unit for step in parsed if step.count or step.unit == "end"}
    title = "step of training at which pruning happens"
    if len(units) == 1 and "end" not in units:
        counts = sorted({step.count for step in parsed})
        unit = "iteration" if "it" in units else "epoch"
        first = next(count for count in counts if count > 0)
        x = alt.X(
            "count:Q",
            scale=alt.Scale(type="symlog", constant=first, nice=False, padding=12),
            axis=alt.Axis(
                title=f"{unit} at which pruning happens",
                values=counts,
                labelExpr='format(datum.value, ",")',
                grid=False,
            ),
        )
    else:
        x = alt.X("step:O", sort=steps, axis=alt.Axis(title=title, labelAngle=0, grid=False))
    return marks.Horizontal(first=x, second=x, others=x)


def layer_density_panels(layers: "DataFrame", *, title: str, subtitle: str) -> marks.AnyChart | None:
    """The share of each layer's weights that a method keeps: a panel a sparsity (E5).

    Args:
        layers: one row a method, sparsity, replicate and layer, in the order of the network's layers; columns method,
            sparsity, layer, kept and total (counts of weights). Replicates are averaged.
        title: what is seen.
        subtitle: of which network, data and replicates.
    """
    rows: list[dict[str, Any]] = layers.to_dict("records")  # pyright: ignore[reportAssignmentType]
    if not rows:
        return None
    kept: dict[tuple[str, float, str], list[float]] = {}
    for row in rows:
        key = (str(row["method"]), round(float(row["sparsity"]), 9), str(row["layer"]).removesuffix(".weight"))
        kept.setdefault(key, []).append(100 * float(row["kept"]) / float(row["total"]))
    styles = theme.series_styles(method for method, _, _ in kept)
    names = list(dict.fromkeys(layer for _, _, layer in kept))
    sparsities = sorted({sparsity for _, sparsity, _ in kept})
    panels = [f"sparsity {curves.sparsity_text(sparsity)} %" for sparsity in sparsities]
    values = [
        {
            "line": styles[method].label,
            "panel": panels[sparsities.index(sparsity)],
            "layer": layer,
            "density": round(sum(shares) / len(shares), 6),
        }
        for (method, sparsity, layer), shares in kept.items()
    ]
    return marks.finish(_faceted(marks.profile(names, styles), values, panels), title, subtitle)


def _dense_value(dense: Point) -> dict[str, Any]:
    return {"dense": round(dense.mean, 4), "text": f"dense network {dense.mean:.1f} %"}


def _faceted(layers: list[alt.Chart], values: list[dict[str, Any]], panels: list[str]) -> alt.FacetChart:
    columns = len(panels) if len(panels) <= 3 else 2 if len(panels) == 4 else 3
    width = PANEL_WIDTH if columns == 3 else PANEL_WIDTH * 5 // 4
    facet = alt.Facet("panel:N", sort=panels, title=None)
    chart = alt.layer(*layers, data=marks.data(values)).properties(width=width, height=PANEL_HEIGHT)
    return chart.facet(facet=facet, columns=columns)

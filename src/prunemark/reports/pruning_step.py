"""The chart of accuracy against the step of training at which pruning happens (E4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import altair as alt

from prunemark.reports import charts, curves, marks, theme
from prunemark.reports.curves import Point
from prunemark.stats.cells import moment, rewound_to
from prunemark.stats.effects import Standard
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.benchmarks import BENCHMARKS
from prunemark.terms.numbers import percent_number
from prunemark.terms.sparsity import same_sparsity
from prunemark.terms.steps import Step

if TYPE_CHECKING:
    from pandas import DataFrame

_TO_THAT_STEP = {name: benchmark.at_each_step for name, benchmark in BENCHMARKS.items() if benchmark.at_each_step}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A point and the line it belongs to; `step` is None for what stands at every step."""

    point: Point
    line: str
    step: str | None


def placed(cells: Sequence[Point], sparsity: float) -> list[Placed]:
    """Points of the chart at one sparsity: methods at their step, rewinding at the step that it goes back to.

    What is pruned after training and not rewound stands at every step, and so does rewinding to the study's own step
    where the study does not sweep it.
    """
    at = same_sparsity(sparsity)
    here = [p for p in curves.pruned(cells) if p.cell.ablation == UNMODIFIED and p.cell.sparsity == at]
    found: list[Placed] = []
    swept = {kind for kind, step in (rewound_to(p.cell.benchmark) for p in here) if step}
    for point in here:
        kind, step = rewound_to(point.cell.benchmark)
        if not kind:
            found.append(Placed(point=point, line=point.cell.method, step=point.cell.prune_at))
        elif step or kind not in swept:
            found.append(Placed(point=point, line=kind, step=str(step) if step else None))
    return found


def steps(shown: Sequence[Placed]) -> list[str]:
    """All steps at which something stands, in the order of training."""
    return curves.in_order(one.step for one in shown if one.step is not None)


def swept(cells: Sequence[Point]) -> list[float]:
    """The sparsities at which something stands at several steps, ascending."""
    sparsities = sorted({point.cell.sparsity for point in curves.pruned(cells)})
    return [sparsity for sparsity in sparsities if len(steps(placed(cells, sparsity))) > 1]


def pruning_step_chart(
    results: "DataFrame",
    *,
    sparsities: Sequence[float],
    standard: Standard | None = None,
    title: str,
    subtitle: str,
) -> marks.AnyChart | None:
    """Accuracy against the step at which pruning happens: every method, one panel per sparsity (E4).

    Rewinding to each step is a line of its own where the study has it; other benchmarks, which know no step, run across
    as level lines. Steps in one unit lie on an axis that is linear up to the first step after initialisation and
    logarithmic beyond; steps in several units, or "end", are spaced evenly. Each panel has its own scale of accuracy.
    """
    cells = curves.points(results, standard)
    shown = {sparsity: placed(cells, sparsity) for sparsity in sparsities}
    everything = [one for placed_ones in shown.values() for one in placed_ones]
    along = steps(everything)
    if len(along) < 2:
        return None
    spelling = {moment(Step.parse(step)): step for step in along}
    moving = {one.line for one in everything if one.step is not None}
    styles = {
        name: replace(style, display_name=_TO_THAT_STEP[name]) if name in moving and name in _TO_THAT_STEP else style
        for name, style in theme.series_styles(one.line for one in everything).items()
    }
    panels = {sparsity: f"sparsity {percent_number(sparsity)} %" for sparsity in sparsities}
    values = [
        marks.value(
            one.point,
            styles[one.line],
            panel=panels[sparsity],
            step=step,
            count=Step.parse(step).count,
            when=curves.step_words(step),
        )
        for sparsity, placed_ones in shown.items()
        for one in placed_ones
        for step in (along if one.step is None else [spelling[moment(Step.parse(one.step))]])
    ]
    if (dense := curves.dense(cells)) is not None:
        values += [charts.dense_value(dense) | {"panel": panel} for panel in panels.values()]
    layers = marks.lines(alt.Chart(), _step_axis(along), styles, legend="pruned by", over="when:pruned")
    layers += marks.dense_rule(alt.Chart())
    if len(panels) > 1:
        chart = charts.faceted(layers, values, list(panels.values()), own_scales=True)
    else:
        chart = alt.layer(*layers, data=marks.data(values)).properties(width=charts.WIDTH, height=charts.HEIGHT)
    return marks.finish(chart, title, subtitle)


def _step_axis(along: Sequence[str]) -> marks.Horizontal:
    parsed = [Step.parse(step) for step in along]
    units = {step.unit for step in parsed if step.count or step.unit == "end"}
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
        title = "step of training at which pruning happens"
        x = alt.X("step:O", sort=list(along), axis=alt.Axis(title=title, labelAngle=0, grid=False))
    return marks.Horizontal(first=x, second=x, others=x)

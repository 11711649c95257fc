"""The chart of how training went: losses and accuracy epoch by epoch, of every method at one sparsity."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from prunemark.reports import charts, curves, marks, theme
from prunemark.stats.cells import Cell, cell_of

if TYPE_CHECKING:
    from pandas import DataFrame

_MEASURES = {"train_loss": "train loss", "test_loss": "test loss", "test_accuracy": marks.ACCURACY}
_DENSE = "dense"
# Each panel has a scale of its own to the left, and three of them and the legend fit the page.
_WIDTH = 160


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Losses and accuracies of one cell's trainings by epoch.

    `epochs` maps each epoch, counted from 1, to the values of each measure, one per replicate that has it: mean
    cross-entropy for losses, percent for accuracy.
    """

    cell: Cell
    epochs: Mapping[int, Mapping[str, Sequence[float]]]

    @property
    def series(self) -> str:
        """The benchmark's name, or else the method's."""
        return self.cell.benchmark or self.cell.method


def learning_curves(table: "DataFrame") -> list[LearningCurve]:
    """The curves of unmodified methods at the earliest step, of benchmarks and of the dense network.

    Args:
        table: as `prunemark.results(what="curves")` returns it, of one study, network and data set.
    """
    cells: dict[Cell, dict[int, dict[str, list[float]]]] = {}
    rows: list[dict[str, Any]] = table.loc[table["ablation"] == "unmodified"].to_dict("records")
    for row in rows:
        cell = cell_of(row)
        measured = cells.setdefault(cell, {}).setdefault(int(row["epoch"]), {name: [] for name in _MEASURES})
        for name, values in measured.items():
            value = float(row[name]) * (100 if name == "test_accuracy" else 1)
            if math.isfinite(value):
                values.append(value)
    found = [LearningCurve(cell=cell, epochs=epochs) for cell, epochs in cells.items()]
    return [one for one in found if one.cell.method == _DENSE] + curves.earliest(found)


def learning_curve_panels(
    found: Sequence[LearningCurve], *, sparsity: float, title: str, subtitle: str
) -> marks.AnyChart | None:
    """Train loss, test loss and test accuracy against the epoch, one panel each: one line per method at one sparsity.

    Lines are means over the replicates that reached the epoch. Losses are on a logarithmic scale. The dense network is
    there for comparison.
    """
    shown = [one for one in found if one.cell.sparsity == sparsity and one.cell.method != _DENSE]
    if not shown:
        return None
    styles = theme.series_styles(one.series for one in shown)
    if any(one.cell.method == _DENSE for one in found):
        styles[_DENSE] = theme.Style(display_name="dense network", colour=theme.SOFT, dash=theme.LONG)
        shown += [one for one in found if one.cell.method == _DENSE]
    # A task such as regression has no accuracy.
    measures = [measured for one in shown for measured in one.epochs.values()]
    has = {name for name in _MEASURES if any(measured[name] for measured in measures)}
    panels = [_panel(name, measure, shown, styles) for name, measure in _MEASURES.items() if name in has]
    if not panels:
        return None
    with warnings.catch_warnings():
        # A click on the legend picks out one line in all panels, as intended.
        warnings.filterwarnings("ignore", "Automatically deduplicated selection parameter")
        side_by_side = alt.concat(*panels, columns=3)
    return marks.finish(side_by_side, title, subtitle)


def _panel(
    name: str, measure: str, shown: Sequence[LearningCurve], styles: Mapping[str, theme.Style]
) -> marks.AnyChart:
    loss = name != "test_accuracy"
    values = [
        {
            "line": styles[one.series].display_name,
            "epoch": epoch,
            "mean": _rounded(math.fsum(measured[name]) / len(measured[name])),
            "replicates": len(measured[name]),
        }
        for one in shown
        for epoch, measured in sorted(one.epochs.items())
        # A logarithm has no place for a loss of exactly 0.
        if measured[name] and (not loss or min(measured[name]) > 0)
    ]
    colour, dash, _ = marks.looks(styles, "pruned by", points=False)
    scale = alt.Scale(type="log", nice=False) if loss else alt.Scale(zero=False)
    axis = alt.Axis(title=measure, tickCount=5)
    x = alt.X("epoch:Q", scale=alt.Scale(nice=False), axis=alt.Axis(title="epoch", grid=False, tickMinStep=1))
    mean = alt.Y("mean:Q", scale=scale, axis=axis)
    tooltip = [
        alt.Tooltip("line:N", title="pruned by"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("mean:Q", title=f"mean {measure}", format=".4~r"),
        alt.Tooltip("replicates:Q", title="replicates"),
    ]
    pick = marks.picked()
    strong = alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.1))
    line = alt.Chart(marks.data(values)).mark_line(strokeWidth=1.8, point=len({v["epoch"] for v in values}) == 1)
    drawn = line.encode(x=x, y=mean, color=colour, strokeDash=dash, opacity=strong, tooltip=tooltip).add_params(pick)
    return alt.layer(drawn).properties(width=_WIDTH, height=charts.PANEL_HEIGHT)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")

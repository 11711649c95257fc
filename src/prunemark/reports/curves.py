"""A results table reduced to what charts and tables show: one point a cell, with the spread over replicates."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from prunemark.stats.cells import Cell, Experiment, experiments, moment, rewound_to
from prunemark.stats.effects import FEWEST_REPLICATES, Standard, measure
from prunemark.terms.ablations import ABLATIONS
from prunemark.terms.margins import DEFAULT_MARGIN
from prunemark.terms.metrics import METRICS
from prunemark.terms.steps import Step

if TYPE_CHECKING:
    from pandas import DataFrame


class OfCell(Protocol):
    """Base of what belongs to one cell of a study."""

    @property
    def cell(self) -> Cell: ...


C = TypeVar("C", bound=OfCell)


@dataclass(frozen=True, kw_only=True)
class Point:
    """The runs of one cell that have an accuracy.

    `mean` is test accuracy in percent, or the score by another metric in its `unit`, over the `replicates` runs; `low`
    and `high` are the ends of its interval, that of verdicts; below 3 replicates there is none, and both are the mean.
    `deviation` is the sample standard deviation, NaN for a single run. `bounds` are the ends of what the metric can be.
    """

    cell: Cell
    mean: float
    low: float
    high: float
    interval: str
    deviation: float
    replicates: int
    bounds: tuple[float, float] = METRICS["accuracy"].bounds
    unit: str = "%"

    @property
    def series(self) -> str:
        """The benchmark's name, or else the method's."""
        return self.cell.benchmark or self.cell.method

    @property
    def density(self) -> float:
        """The share of the weights that remains, in (0, 1]."""
        return 1 - self.cell.sparsity


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and interval of what replicates measured; `low` and `high` are the mean where there is no interval."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]
    bounds: tuple[float, float]

    @property
    def text(self) -> str:
        """The interval in words."""
        if len(self.values) < FEWEST_REPLICATES:
            return f"none below {FEWEST_REPLICATES} replicates"
        return f"{self.low:.2f} to {self.high:.2f}"


def spread(values: Mapping[int, float], standard: Standard | None = None, *, weight: float = 1.0) -> Spread | None:
    """The mean of values and its interval, as verdicts have it, within what the metric can be; None of no values.

    Args:
        values: by replicate; those that are not finite are left out.
        standard: what verdicts are held to; None = a number of replicates fixed beforehand, and no rounding.
        weight: of the variance that rounding to whole test images adds.
    """
    standard = standard or Standard(margin=DEFAULT_MARGIN)
    effect = measure(values, standard, squared_weights=weight)
    counted = sorted(values)[: len(values) - effect.later] if effect.replicates else sorted(values)
    finite = tuple(values[replicate] for replicate in counted if math.isfinite(values[replicate]))
    if not finite:
        return None
    mean = math.fsum(finite) / len(finite)
    low, high = (effect.low, effect.high) if math.isfinite(effect.low) else (mean, mean)
    least, most = bounds = standard.metric.bounds
    return Spread(mean=mean, low=max(low, least), high=min(high, most), values=finite, bounds=bounds)


def points(results: "DataFrame", standard: Standard | None = None) -> list[Point]:
    """One point for each cell in which at least one run has an accuracy, in the table's order.

    Runs that diverged count with the accuracy that they ended with, as they do in verdicts; failed runs are left out.

    Args:
        results: of one study, network and data set.
        standard: what verdicts are held to, for the intervals; see `spread`.

    Raises:
        ValueError: the table is malformed, or holds more than one study, network or data set.
    """
    found = experiments(results)
    if len(found) > 1:
        names = ", ".join(f"{one.study}/{one.network}/{one.dataset}" for one in found)
        raise ValueError(f"a chart shows one study, network and data set, not {len(found)}: {names}")
    return points_of(found[0], standard) if found else []


def points_of(experiment: Experiment, standard: Standard | None = None) -> list[Point]:
    """`points` of results that are already sorted into cells."""
    found = {cell: spread(accuracies, standard) for cell, accuracies in experiment.accuracies.items()}
    metric = standard.metric if standard else METRICS["accuracy"]
    unit = "%" if metric.name == "accuracy" else metric.unit
    return [_point(cell, one, unit) for cell, one in found.items() if one]


def _point(cell: Cell, found: Spread, unit: str) -> Point:
    n = len(found.values)
    variance = math.fsum((accuracy - found.mean) ** 2 for accuracy in found.values) / (n - 1) if n > 1 else math.nan
    return Point(
        cell=cell,
        mean=found.mean,
        low=found.low,
        high=found.high,
        interval=found.text,
        deviation=math.sqrt(variance),
        replicates=n,
        bounds=found.bounds,
        unit=unit,
    )


def dense(cells: Iterable[Point]) -> Point | None:
    """The dense network's point, if it was trained."""
    return next((point for point in cells if point.cell.method == "dense"), None)


def pruned(cells: Iterable[C]) -> list[C]:
    """All points but the dense network's."""
    return [point for point in cells if point.cell.method != "dense"]


def random_or_inverted(point: Point) -> bool:
    """True for random pruning and inverted rankings, whose lines run out of the paper's figures too."""
    return point.cell.method == "random" or ABLATIONS[point.cell.ablation].inverts


def below_half(shown: Sequence[Point], dense: Point | None) -> Callable[[Point], bool]:
    """True if a point has less than half of the dense network's accuracy: most of its subnetworks have learnt little.

    Where there is no dense network, less than half of the best of `shown`. No score below 0 has a half.
    """
    best = dense.mean if dense else max((point.mean for point in shown), default=0.0)
    return lambda point: best > 0 and point.mean < best / 2


def frame(
    shown: Sequence[Point], dense: Point | None = None, *, may_leave: Callable[[Point], bool] = random_or_inverted
) -> tuple[float, float] | None:
    """The accuracies that a chart is about, in percent, where a few lines that collapse would squeeze all others.

    Points that `may_leave` run out of the frame; everything else lies within, with its interval, and so does the dense
    network. None where that would spare less than a third of the height, or would leave nothing but the dense network.
    """
    inside = [point for point in shown if not may_leave(point)]
    if not inside:
        return None
    spared = min(p.low for p in inside) - min(p.low for p in shown)
    inside += [dense] if dense else []
    low, high = min(p.low for p in inside), max(p.high for p in inside)
    margin = max(0.06 * (high - low), _least_room(inside[0]))
    if spared < 0.5 * (high - low + 2 * margin):
        return None
    return _within(inside[0].bounds, low - margin, high + margin)


def whole(shown: Sequence[Point], dense: Point | None = None) -> tuple[float, float]:
    """The accuracies of all points and the dense network, in percent, with a little room."""
    everything = [*shown, *([dense] if dense else [])]
    low, high = min(p.low for p in everything), max(p.high for p in everything)
    margin = max(0.05 * (high - low), _least_room(everything[0]))
    return _within(everything[0].bounds, low - margin, high + margin)


def _least_room(point: Point) -> float:
    """0.2 of percentages; of scores by another metric, whose size may be any, in the same proportion."""
    return 0.2 if point.unit == "%" else 0.002 * abs(point.mean) or 0.2


def _within(bounds: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    return max(low, bounds[0]), min(high, bounds[1])


def steps(cells: Iterable[OfCell]) -> list[str]:
    """The steps at which methods prune, as the study writes them: initialisation first, "end" last."""
    return in_order(point.cell.prune_at for point in pruned(cells) if not point.cell.benchmark)


def in_order(steps: Iterable[str]) -> list[str]:
    """Steps in the order of training, each once, in the spelling met first: "0it" is "0ep"."""
    found: dict[tuple[str, float], str] = {}
    for step in steps:
        found.setdefault(moment(Step.parse(step)), step)
    return sorted(found.values(), key=_order)


def _order(prune_at: str) -> tuple[bool, bool, float]:
    step = Step.parse(prune_at)
    return step.unit == "end", step.count != 0, step.count


def earliest(cells: Sequence[C]) -> list[C]:
    """The methods' points at initialisation (or at the first step that the study has) and the benchmarks' points.

    Rewinding to further steps is not among them.
    """
    first = [moment(Step.parse(step)) for step in steps(cells)[:1]]
    return [
        point
        for point in without_further_steps(pruned(cells))
        if point.cell.benchmark or moment(Step.parse(point.cell.prune_at)) in first
    ]


def without_further_steps(cells: Sequence[C]) -> list[C]:
    """The points less those that only the chart of steps shows: rewinding to a step beside others.

    Of a benchmark that is rewound to the study's own step and to others ("lottery-rewinding:2ep") the study's own is
    left; of one that is rewound to one step only, that one.
    """
    forms: dict[str, set[str]] = {}
    for point in cells:
        forms.setdefault(rewound_to(point.cell.benchmark)[0], set()).add(point.cell.benchmark)

    def is_left(cell: Cell) -> bool:
        kind, step = rewound_to(cell.benchmark)
        return step is None or len(forms[kind]) == 1

    return [point for point in cells if is_left(point.cell)]


def step_words(prune_at: str) -> str:
    """A step in words: "at initialisation", "after 1000 iterations", "after 10 epochs", "at the end of training"."""
    step = Step.parse(prune_at)
    if step.unit == "end":
        return "at the end of training"
    if step.count == 0:
        return "at initialisation"
    noun = "iteration" if step.unit == "it" else "epoch"
    return f"after {step.count:g} {noun}{'' if step.count == 1 else 's'}"


def replicate_range(cells: Iterable[Point]) -> str:
    """The number of replicates in words: "5 replicates", "1 replicate", "3 to 5 replicates"."""
    counts = {point.replicates for point in cells}
    low, high = min(counts, default=0), max(counts, default=0)
    if low == high:
        return f"{low} replicate{'' if low == 1 else 's'}"
    return f"{low} to {high} replicates"


def accuracy_text(point: Point | None) -> str:
    """Mean and sample standard deviation in percent: "91.42 ± 0.18"; no deviation for one run, "–" for none."""
    if point is None:
        return "–"
    return f"{point.mean:.2f}" + (f" ± {point.deviation:.2f}" if point.replicates > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table of numbers: what was trained, and its point at each of the table's sparsities."""

    series: str
    ablation: str
    prune_at: str
    points: dict[float, Point]


def grid(cells: Iterable[Point]) -> tuple[list[float], list[Row]]:
    """The pruned points as a table: its sparsities, ascending, and its rows in the order of the points."""
    rows: dict[tuple[str, str, str], dict[float, Point]] = {}
    for point in pruned(cells):
        key = (point.series, point.cell.ablation, point.cell.prune_at)
        rows.setdefault(key, {})[point.cell.sparsity] = point
    sparsities = sorted({sparsity for points_ in rows.values() for sparsity in points_})
    return sparsities, [
        Row(series=series, ablation=ablation, prune_at=prune_at, points=found)
        for (series, ablation, prune_at), found in rows.items()
    ]

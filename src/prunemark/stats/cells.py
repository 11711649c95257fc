"""Results as cells: the accuracies of all replicates under one condition, after every check of the table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast, get_args

from prunemark.terms.ablations import ABLATIONS, UNMODIFIED
from prunemark.terms.benchmarks import LOTTERY_REWINDING
from prunemark.terms.columns import SUBJECT, Status
from prunemark.terms.metrics import DIRECTIONS, METRICS, metric_of
from prunemark.terms.sparsity import same_sparsity
from prunemark.terms.steps import Step

if TYPE_CHECKING:
    import pandas as pd

STATUSES = get_args(Status)
MOST_UNSCORED = 0.01
"""Share of a mask's kept weights that may be unscored, as those of a few dead units are, if its cell is to count."""
_EXPERIMENT = SUBJECT
_TEXT = (*_EXPERIMENT, "method", "ablation", "benchmark", "prune_at", "status")
_NUMBERS = ("sparsity", "replicate")
# What a table of another origin may leave out, and what it then means.
_ASSUMED = {"study": "", "network": "", "dataset": "", "ablation": UNMODIFIED, "benchmark": ""} | dict.fromkeys(
    ("metric", "metric_direction"), ""
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One condition: what was pruned how, when and how far. `prune_at` is as written in the study."""

    method: str
    sparsity: float
    prune_at: str
    ablation: str = UNMODIFIED
    benchmark: str = ""

    @property
    def step(self) -> Step | None:
        """Step at which pruning happened; None for the dense network."""
        return Step.parse(self.prune_at) if self.prune_at else None

    @property
    def initial(self) -> bool:
        """True if pruning happened at initialisation."""
        return self.step is not None and self.step.unit != "end" and self.step.count == 0


DENSE = Cell(method="dense", sparsity=0.0, prune_at="")


def moment(step: Step) -> tuple[str, float]:
    """Canonical key that all spellings of one step share: "0it" is "0ep", and "2.0ep" is "2ep"."""
    return ("", 0.0) if step.unit != "end" and step.count == 0 else (step.unit, step.count)


def rewound_to(benchmark: str) -> tuple[str, Step | None]:
    """A benchmark's kind, and the step that its name says it is rewound to: "lottery-rewinding:2ep".

    Raises:
        ValueError: what follows the colon is not a step.
    """
    kind, colon, step = benchmark.partition(":")
    return kind, Step.parse(step) if colon else None


def benchmark_cell(name: str, sparsity: float) -> Cell:
    """The unmodified cell of a benchmark."""
    return Cell(method="magnitude", sparsity=sparsity, prune_at="end", benchmark=name)


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell that a row of a table of results belongs to."""
    return Cell(
        method=str(row["method"]),
        sparsity=same_sparsity(float(row["sparsity"])),
        prune_at="" if row["method"] == "dense" else str(row["prune_at"]),
        ablation=str(row["ablation"]),
        benchmark=str(row["benchmark"] or ""),
    )


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All cells of one network on one data set in one study.

    `accuracies` maps each cell to its replicates' test accuracies in percent, or to their scores by another metric
    (`prunemark.terms.metrics`), in its unit and turned so that higher is better; a failed run is NaN, a diverged one
    has the accuracy it ended with. `trainings` maps a cell's replicates to the training that gave them, where the
    table says so: two cells with the same training are one piece of evidence. `unscored` holds the cells in which a
    mask was chosen by position.
    """

    study: str
    network: str
    dataset: str
    accuracies: Mapping[Cell, Mapping[int, float]]
    trainings: Mapping[Cell, Mapping[int, str]] = field(default_factory=dict[Cell, dict[int, str]])
    unscored: frozenset[Cell] = frozenset()

    @property
    def sparsities(self) -> list[float]:
        """The sparsities of the pruned networks, ascending."""
        return sorted({cell.sparsity for cell in self.accuracies if cell.method != "dense"})

    def initial(self, like: Cell) -> Cell | None:
        """The same condition pruned at initialisation, however the study writes that step; None if it is absent."""
        for cell in self.accuracies:
            if cell.initial and replace(cell, prune_at=like.prune_at) == like:
                return cell
        return None

    def rewound(self, like: Cell) -> Cell | None:
        """Rewinding to the very step at which this condition was pruned, "lottery-rewinding:STEP"; None if absent."""
        for cell in self.accuracies:
            kind, step = rewound_to(cell.benchmark)
            if (
                (kind, cell.ablation, cell.sparsity) == (LOTTERY_REWINDING, UNMODIFIED, like.sparsity)
                and (step and like.step)
                and moment(step) == moment(like.step)
            ):
                return cell
        return None


def _row_problem(row: Mapping[str, Any]) -> str | None:
    sparsity = row["sparsity"]
    if row["status"] not in STATUSES:
        return f"status {row['status']!r} is none of {', '.join(STATUSES)}"
    if row["ablation"] not in ABLATIONS:
        return f"ablation {row['ablation']!r} is none of {', '.join(ABLATIONS)}"
    if not 0 <= sparsity < 1:
        return f"sparsity {sparsity!r} is outside [0, 1)"
    if not (isinstance(row["replicate"], int) or row["replicate"].is_integer()):
        return f"replicate {row['replicate']!r} is not a whole number"
    if row["method"] != "dense":
        try:
            Step.parse(row["prune_at"])
        except ValueError as error:
            return f"prune_at: {error}"
    try:
        rewound_to(row["benchmark"])
    except ValueError as error:
        return f"benchmark {row['benchmark']!r}: {error}"
    return _value_problem(row)


def _value_problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with the number that a row is judged by."""
    if row["metric"] in ("", "accuracy"):
        if row["status"] != "failed" and not 0 <= (got := _value(row)) <= 1:
            return f"test_accuracy {got!r} of a run that is {row['status']} is not a fraction in [0, 1]"
        return None
    if row["metric"] not in METRICS and row["metric_direction"] not in DIRECTIONS:
        return f"metric_direction {row['metric_direction']!r} of the metric {row['metric']} is not higher or lower"
    if row["status"] == "done" and not math.isfinite(row["metric_value"]):
        return f"metric_value {row['metric_value']!r} of a run that is done is not a finite number"
    return None


def _value(row: Mapping[str, Any]) -> float:
    """The raw number that a row is judged by."""
    return (
        row.get("test_accuracy", row.get("metric_value")) if row["metric"] in ("", "accuracy") else row["metric_value"]
    )


def _score(row: Mapping[str, Any]) -> float:
    """The number that a row is judged by, in units and turned so that higher is better.

    NaN of a run that failed, minus infinity of one that diverged without a number.
    """
    if row["status"] == "failed":
        return math.nan
    if row["metric"] in ("", "accuracy"):
        return 100 * _value(row)
    if not math.isfinite(row["metric_value"]):
        return -math.inf  # it diverged: worse than any number, which leaving it out would hide
    metric = METRICS.get(row["metric"]) or metric_of({"name": row["metric"], "direction": row["metric_direction"]})
    return metric.score(row["metric_value"])


def _prune_at(row: Mapping[str, Any]) -> str:
    if row["method"] == "dense":
        return ""
    return "end" if row["benchmark"] else "0ep"


def _rows(results: "pd.DataFrame") -> list[dict[str, Any]]:
    if not hasattr(results, "columns"):
        raise ValueError(f"results are a pandas DataFrame, one row per trial, not a {type(results).__name__}")
    by_metric = {"metric", "metric_value"} <= set(results.columns)
    needed = [*_NUMBERS, "metric_value" if by_metric and "test_accuracy" not in results.columns else "test_accuracy"]
    if "metric" in results.columns and set(results["metric"].dropna()) - {"", "accuracy"}:
        needed.append("metric_value")
    missing = [name for name in dict.fromkeys(("method", *needed)) if name not in results.columns]
    if missing:
        raise ValueError(f"results: missing columns: {', '.join(missing)}")
    columns: dict[str, list[Any]] = {name: [value] * len(results) for name, value in _ASSUMED.items()}
    for name in (*_TEXT, "job_key", "metric", "metric_direction"):
        if name in results.columns:
            # A table that has been through CSV holds NaN where the text was empty.
            texts = results[name].astype(object).where(results[name].notna(), "")
            columns[name] = [str(value) for value in texts]
    for name in (*needed, *(["metric_value"] if by_metric else [])):
        columns[name] = _numbers(results, name)
    seeds = results["replicate"]
    if getattr(seeds.dtype, "kind", "") in ("i", "u") and not seeds.hasnans:
        columns["replicate"] = seeds.tolist()  # they may be larger than a float holds
    if "unscored" in results.columns:
        columns["unscored"] = [share > MOST_UNSCORED for share in _numbers(results, "unscored")]
    rows: list[dict[str, Any]] = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    for row in rows:
        row.setdefault("prune_at", _prune_at(row))
        row.setdefault("status", "failed" if math.isnan(_value(row)) else "done")
    return rows


def _numbers(results: "pd.DataFrame", name: str) -> list[float]:
    try:
        return results[name].to_numpy(dtype=float, na_value=math.nan).tolist()
    except (TypeError, ValueError) as error:
        raise ValueError(f"results: column {name} does not hold numbers: {error}") from error


def _identified(trainings: dict[Cell, dict[int, str]], accuracies: dict[Cell, dict[int, float]]) -> bool:
    """True if the keys name trainings: one key, one replicate and one accuracy."""
    seen: dict[str, tuple[int, float]] = {}
    for cell, keys in trainings.items():
        for replicate, key in keys.items():
            accuracy = accuracies[cell][replicate]
            known = seen.setdefault(key, (replicate, accuracy))
            if known[0] != replicate or (known[1] != accuracy and math.isfinite(known[1] + accuracy)):
                return False
    return True


def experiments(results: "pd.DataFrame") -> list[Experiment]:
    """The table of results, checked and sorted into cells, one Experiment a study, network and data set.

    Needed are the columns method, sparsity (in [0, 1)), replicate and test_accuracy (a fraction). Where they are
    missing, study, network, dataset and benchmark are empty, ablation is "unmodified", prune_at "0ep" ("end" for a
    benchmark), and status "done" where there is an accuracy. job_key says which rows are one training; it is ignored
    where one key stands for several replicates or accuracies. unscored (a share, or true and false) marks rows some of
    whose kept weights were chosen by position.

    Raises:
        ValueError: columns are missing, values are not what they should be, or two rows describe the same replicate
            of the same cell; one message lists every kind of problem with its count and first row.
    """
    problems: dict[str, list[int]] = {}
    found: dict[tuple[str, str, str], dict[Cell, dict[int, float]]] = {}
    trainings: dict[tuple[str, str, str], dict[Cell, dict[int, str]]] = {}
    unscored: dict[tuple[str, str, str], set[Cell]] = {}
    checked = _rows(results)
    for number, row in enumerate(checked):
        problem = _row_problem(row)
        if problem is None:
            key = cast(tuple[str, str, str], tuple(row[name] for name in _EXPERIMENT))
            cell = cell_of(row)
            replicates = found.setdefault(key, {}).setdefault(cell, {})
            replicate = int(row["replicate"])
            if replicate in replicates:
                where = ", ".join(f"{name} {value}" for name, value in vars(cell).items() if value != "")
                problem = f"two rows for replicate {replicate} of {'/'.join(key)}: {where}"
            else:
                replicates[replicate] = _score(row)
                if row.get("job_key"):
                    trainings.setdefault(key, {}).setdefault(cell, {})[replicate] = row["job_key"]
                if row.get("unscored"):
                    unscored.setdefault(key, set()).add(cell)
        if problem is not None:
            problems.setdefault(problem, []).append(number)
    if problems:
        shown = [f"row {rows[0]}: {text}" + _more(len(rows) - 1) for text, rows in problems.items()]
        extra = f"; and {len(shown) - 10} other problems" if len(shown) > 10 else ""
        if high := sum(1 < _value(row) <= 100 for row in checked if row["metric"] in ("", "accuracy")):
            extra += f"; {high} of the accuracies lie between 1 and 100: if they are percentages, divide them by 100"
        raise ValueError(f"results: {'; '.join(shown[:10])}{extra}")
    return [
        Experiment(
            study=key[0],
            network=key[1],
            dataset=key[2],
            accuracies=cells,
            trainings=known if _identified(known := trainings.get(key, {}), cells) else {},
            unscored=frozenset(unscored.get(key, ())),
        )
        for key, cells in sorted(found.items(), key=lambda item: item[0])
    ]


def _more(count: int) -> str:
    return f" (and {count} more such rows)" if count else ""

"""What a table of results says about how it is to be judged, beside its accuracies."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prunemark.stats.fitness import DenseRun
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING
from prunemark.terms.columns import FIXED, SUBJECT
from prunemark.terms.looks import Looks
from prunemark.terms.metrics import METRICS, Metric, metric_of

if TYPE_CHECKING:
    import pandas as pd

_OF_METRIC = ("metric_direction", "metric_unit")
_READ = (
    *("method_name", "margin", "looks", "test_images", "classes", "steps_per_epoch", "last_gain", "initial_overlap"),
    *("metric", *_OF_METRIC),
)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Terms on which one study, network and data set is judged; None where the table does not say.

    Attributes:
        margin: the study's, in percentage points.
        looks: those of a study whose results decided its number of replicates; "fixed" where they did not.
        images: number of test images.
        classes: number of classes of the data set.
        methods: label in the results -> the method's name.
        steps_per_epoch: optimizer steps in an epoch.
        runs: what dense training did in each replicate.
        metric: what the study is judged by.
    """

    margin: float | None = None
    looks: Looks | str | None = None
    images: int | None = None
    classes: int | None = None
    methods: Mapping[str, str] = field(default_factory=dict[str, str])
    steps_per_epoch: int | None = None
    runs: Sequence[DenseRun] = ()
    metric: Metric = METRICS["accuracy"]


def conditions(results: "pd.DataFrame") -> dict[tuple[str, ...], Conditions]:
    """(study, network, dataset) -> its conditions, from the columns that `prunemark.results` adds for them.

    A column that is missing or empty says nothing.

    Raises:
        ValueError: a study has two margins, say, or a column holds what it never does.
    """
    if not set(_READ) & set(results.columns):
        return {}
    named = results.assign(**{name: _texts(results, name) for name in SUBJECT})
    return {
        _names(key): _of(key, rows) for key, rows in named.groupby(list(SUBJECT), sort=False) if isinstance(key, tuple)
    }


def _of(key: Hashable, rows: "pd.DataFrame") -> Conditions:
    where = "/".join(_names(key))
    margin, looks = _only(rows, "margin", where), _only(rows, "looks", where)
    try:
        return Conditions(
            margin=None if margin is None else float(margin),
            looks=FIXED if looks == FIXED else None if looks is None else Looks.parse(str(looks)),
            images=_count(_only(rows, "test_images", where)),
            classes=_count(_only(rows, "classes", where)),
            methods=_methods(rows),
            steps_per_epoch=_count(_only(rows, "steps_per_epoch", where)),
            runs=_runs(rows),
            metric=_metric(_stated(rows, where), *(_only(rows, name, where) for name in _OF_METRIC)),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"results: {where}: {error}") from None


def _stated(rows: "pd.DataFrame", where: str) -> str | None:
    """The metric's name; a row that names none would be judged by accuracy among others that are not."""
    name = _only(rows, "metric", where)
    if name not in (None, "accuracy") and any(rows["metric"].isna()):
        raise ValueError(f"column metric is empty in some rows of {where}, and says {name} in others")
    return name


def _metric(name: str | None, direction: str | None, unit: str | None) -> Metric:
    if not name:
        return METRICS["accuracy"]
    if name in METRICS:
        if direction not in (None, "", known := METRICS[name].direction):
            raise ValueError(f"metric_direction says {direction}, and of {name} {known} is better")
        return METRICS[name]
    return metric_of({"name": name, "direction": direction, **({} if unit is None else {"unit": unit})})


def _only(rows: "pd.DataFrame", name: str, where: str) -> Any:
    """The one value of a column; None where it has none."""
    if name not in rows.columns:
        return None
    values = list(rows[name].dropna().unique())
    if len(values) > 1:
        raise ValueError(f"results: column {name} says {' and '.join(map(str, values[:2]))} of {where}")
    return values[0] if values else None


def _count(value: Any) -> int | None:
    if value is None:
        return None
    if not float(value).is_integer() or float(value) < 1:
        raise ValueError(f"{value} is not a whole number from 1")
    return int(value)


def _methods(rows: "pd.DataFrame") -> dict[str, str]:
    if "method_name" not in rows.columns:
        return {}
    named = rows[rows["method_name"].notna() & (rows["method_name"] != "")]
    return {str(label): str(name) for label, name in zip(named["method"], named["method_name"], strict=True)}


def _runs(rows: "pd.DataFrame") -> list[DenseRun]:
    gains: dict[int, float] = {}
    overlaps: dict[int, dict[float, float]] = {}
    if "last_gain" in rows.columns:
        dense = rows[(rows["method"] == "dense") & rows["last_gain"].notna()]
        gains = {int(r): 100 * float(gain) for r, gain in zip(dense["replicate"], dense["last_gain"], strict=True)}
    if {"initial_overlap", "benchmark"} <= set(rows.columns):
        marks = rows[(rows["benchmark"] == MAGNITUDE_AFTER_TRAINING) & rows["initial_overlap"].notna()]
        for r, sparsity, share in zip(marks["replicate"], marks["sparsity"], marks["initial_overlap"], strict=True):
            overlaps.setdefault(int(r), {})[float(sparsity)] = float(share)
    return [
        DenseRun(replicate=r, gain=gains.get(r, math.nan), overlaps=overlaps.get(r))
        for r in sorted({*gains, *overlaps})
    ]


def _texts(results: "pd.DataFrame", name: str) -> list[str]:
    if name not in results.columns:
        return [""] * len(results)
    return [str(value) for value in results[name].astype(object).where(results[name].notna(), "")]


def _names(key: Hashable) -> tuple[str, ...]:
    return tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)

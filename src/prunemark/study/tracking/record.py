"""A trial as trackers take it: its name, what was asked, its curve and its results. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prunemark.study.store import Store

_ASKED = (
    *("study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "replicate"),
    *("status", "job_key", "code_version", "torch_version", "device", "engine"),
)
_RESULTS = ("test_accuracy", "test_loss", "train_seconds", "density", "effective_density", "unscored", "metric_value")
_MEASURED = ("train_loss", "test_loss", "test_accuracy")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished trial.

    Attributes:
        name: unique in its study, such as "snip shuffle 0.9 r0".
        job_key: of the training that it shows.
        asked: what was asked, and by what it was done.
        curve: (epoch, name -> value) of each epoch; empty where none was stored.
        results: name -> number, finite ones alone.
    """

    name: str
    job_key: str
    asked: dict[str, Any]
    curve: Sequence[tuple[int, dict[str, float]]]
    results: dict[str, float]


class Tracker(Protocol):
    """What takes records, and is closed when a run ends."""

    def send(self, record: Record, /) -> None:
        """Take a trial, all of it."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class MakeTracker(Protocol):
    """(target, folder of results, study) -> a tracker; an empty target is the tracker's usual one."""

    def __call__(self, target: str, folder: Path, study: str, /) -> Tracker: ...


def records(store: Store, study: str) -> list[Record]:
    """The trials of a study that are done or have diverged, in its order."""
    table, curves = store.results(study), store.curves(study)
    trial = ["method", "ablation", "benchmark", "prune_at", "sparsity", "replicate"]
    by_trial: dict[tuple[Any, ...], list[tuple[int, dict[str, float]]]] = {}
    for row in curves.to_dict("records"):
        measured = _finite({name: row[name] for name in _MEASURED})
        by_trial.setdefault(tuple(row[name] for name in trial), []).append((int(row["epoch"]), measured))
    found: list[Record] = []
    for row in table.to_dict("records"):
        if row["status"] == "failed":
            continue
        asked = {name: row[name] for name in _ASKED if name in row and row[name] == row[name]}
        found.append(
            Record(
                name=_name(asked),
                job_key=str(row["job_key"]),
                asked=asked,
                curve=by_trial.get(tuple(row[name] for name in trial), ()),
                results=_finite({name: row.get(name) for name in _RESULTS}),
            )
        )
    return found


def _name(asked: dict[str, Any]) -> str:
    parts = [asked["benchmark"] or asked["method"], *([asked["ablation"]] if asked["ablation"] != "unmodified" else [])]
    if asked["sparsity"]:
        parts.append(f"{asked['sparsity']:.9g}")
    if asked["prune_at"] and not asked["benchmark"]:
        parts.append(f"at {asked['prune_at']}")
    return " ".join([*map(str, parts), f"r{asked['replicate']}"])


def _finite(values: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value) for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }

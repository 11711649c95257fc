"""The trials of a folder, each with what a verdict about its study needs: a table that can be judged by itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prunemark.datasets import DatasetEntry, entry_for, entry_of, form_of
from prunemark.own_code import short_name
from prunemark.stats.fitness import last_gain
from prunemark.study.provenance import stored_recipe
from prunemark.study.replicates import parse
from prunemark.study.store import Store
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING
from prunemark.terms.columns import FIXED, TRIAL
from prunemark.terms.looks import Looks
from prunemark.terms.metrics import metric_of

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {
    **dict.fromkeys(("method_name", "looks", "metric", "metric_direction", "metric_unit"), "object"),
    **dict.fromkeys(("margin", "last_gain", "initial_overlap"), "float64"),
    **dict.fromkeys(("test_images", "classes", "steps_per_epoch"), "Int64"),
}

_MEASURED = {"accuracy": "test_accuracy", "loss": "test_loss"}


def trials(store: Store, study: str | None = None) -> "pd.DataFrame":
    """The trials whose jobs have finished, with the columns `prunemark.terms.columns.TRIAL`.

    Args:
        store: an open folder.
        study: only this one's; None = all studies of the folder.

    Raises:
        ValueError: there is no such study in the folder.
    """
    import pandas as pd

    table = store.results(study)
    gains = {place: last_gain(values) for place, values in store.accuracies(study).items()}
    added = pd.DataFrame({name: pd.Series(index=table.index, dtype=dtype) for name, dtype in _DTYPES.items()})
    added["last_gain"] = [
        gains.get((name, key), float("nan")) for name, key in zip(table["study"], table["job_key"], strict=True)
    ]
    specs = store.studies()
    for name in table["study"].unique():
        mine = table["study"] == name
        for column, value in _of_study(store, name, specs[name]).items():
            added.loc[mine, column] = value
        # A metric of the user's is in the results of trainings, and of no other studies than its own.
        if (metric := added.loc[mine, "metric"].iloc[0]) in _MEASURED:
            table.loc[mine, "metric_value"] = table.loc[mine, _MEASURED[metric]]
        names = {method["label"]: method["name"] for method in specs[name]["methods"]}
        added.loc[mine, "method_name"] = [names.get(label, label) for label in table.loc[mine, "method"]]
        overlaps = store.overlaps(name)
        marks = mine & (table["benchmark"] == MAGNITUDE_AFTER_TRAINING) & (table["ablation"] == UNMODIFIED)
        added.loc[marks, "initial_overlap"] = [
            overlaps.get(replicate, {}).get(sparsity, float("nan"))
            for replicate, sparsity in zip(table.loc[marks, "replicate"], table.loc[marks, "sparsity"], strict=True)
        ]
    return table.drop(columns=list(_DTYPES), errors="ignore").join(added).reindex(columns=list(TRIAL))


def _of_study(store: Store, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is the same for all trials of a study; None where it is not known."""
    entry = _entry(spec["dataset"], store.facts().get(f"facts of {spec['dataset']}"))
    metric = metric_of(spec.get("metric"), task=entry.task if entry else "classification")
    classified = metric.name == "accuracy" and (entry is None or entry.task == "classification")
    replicates = parse(spec["replicates"])
    found = {
        "margin": spec["margin"],
        "looks": replicates.span if isinstance(replicates, Looks) else FIXED,
        "metric": short_name(metric.name),
        "metric_direction": metric.direction,
        "metric_unit": metric.unit,
    }
    if classified:
        found["test_images"] = store.test_images(name) or (entry and entry.test_examples)
    if entry:
        found |= {
            "classes": entry.classes if classified else None,
            "steps_per_epoch": stored_recipe(spec).steps_per_epoch(entry.train_examples),
        }
    return {column: value for column, value in found.items() if value is not None}


def _entry(dataset: str, facts: str | None) -> DatasetEntry | None:
    """The data set's line, of others than those of DATASETS by stored facts; None where there are none."""
    if facts:
        return entry_of(dataset, facts)
    if form_of(dataset):
        return None
    try:
        return entry_for(dataset)
    except ValueError:
        return None

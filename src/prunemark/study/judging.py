"""From a folder of results to what it says, for the command line, reports and notebooks alike."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.datasets import NORMALISATIONS, DatasetEntry, entry_for
from prunemark.recipes import recipe_for
from prunemark.registry import unknown
from prunemark.stats import Judged
from prunemark.stats import judge as judge_results
from prunemark.stats.fitness import DenseRun
from prunemark.study.store import Store
from prunemark.terms.margins import DEFAULT_MARGIN
from prunemark.terms.numbers import percent
from prunemark.terms.scoring import SCORING_BATCH

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class JudgedStudy(Judged):
    """Verdicts of one study, with all that a report of it shows.

    Attributes:
        name: the study's.
        spec: the study as it was run, every field.
        results: one row per trial, see `prunemark.terms.columns.TRIAL`.
        layers: what masks keep, see `prunemark.terms.columns.LAYER`.
        curves: learning curves, see `prunemark.terms.columns.CURVE`.
        planned: how many trials the study has; `results` has those that have finished.
        facts: what a reader must know to trust or repeat the numbers, in the order in which it is shown.
    """

    name: str
    spec: Mapping[str, Any]
    results: "pd.DataFrame"
    layers: "pd.DataFrame"
    curves: "pd.DataFrame"
    planned: int
    facts: Mapping[str, str]

    @property
    def methods(self) -> dict[str, str]:
        """Label in the results -> the method's name, or "FILE.py:function"."""
        return {method["label"]: method["name"] for method in self.spec["methods"]}


def judge(results: "pd.DataFrame | str | Path", *, margin: float | None = None, study: str | None = None) -> Judged:
    """Judge the paper's claims by results: `.headline`, and `.claims`, `.cells` and `.ranges` as tables.

    Args:
        results: a folder of results, or a table of results of any origin, with the columns method, sparsity, replicate
            and test_accuracy at least; see `prunemark.stats.judge`.
        margin: the smallest difference that matters, in percentage points; by default the study's own, of a table 0.5.
        study: which study of the folder; by default the last that was run.

    Raises:
        ValueError: there is no such study, or none of its trials has finished; a table that is malformed.
        StoreError: the folder holds no results.
    """
    if isinstance(results, str | Path):
        return judge_study(results, study=study, margin=margin)
    return judge_results(results, margin=DEFAULT_MARGIN if margin is None else margin)


def judge_study(folder: str | Path, *, study: str | None = None, margin: float | None = None) -> JudgedStudy:
    """`judge` for a folder of results."""
    with Store.reading(folder) as store:
        specs = store.studies()
        if study is not None and study not in specs:
            raise ValueError(unknown("study", study, specs))
        if not specs:
            raise ValueError(f"{folder} holds no study yet")
        name = study or list(specs)[-1]
        spec = specs[name]
        table, layers, curves = store.results(name), store.layers(name), store.curves(name)
        overlaps, planned, prunable = store.overlaps(name), store.planned(name), store.prunable(name)
        images = store.test_images(name)
    if table.empty:
        raise ValueError(f"no trial of {name} in {folder} has finished yet")
    entry = _entry(spec["dataset"])
    images = images or (entry.test_examples if entry else None)
    judged = judge_results(
        table,
        margin=spec["margin"] if margin is None else margin,
        images=images,
        chance=100 / entry.classes if entry else None,
        methods={method["label"]: method["name"] for method in spec["methods"]},
        steps_per_epoch=_steps_per_epoch(spec, entry),
        runs=_dense_runs(curves, overlaps),
    )
    return JudgedStudy(
        subjects=judged.subjects,
        name=name,
        spec=spec,
        results=table,
        layers=layers,
        curves=curves,
        planned=planned,
        facts=_facts(spec, table, planned=planned, images=images, prunable=prunable),
    )


def _entry(dataset: str) -> DatasetEntry | None:
    """The data set's line; None where it cannot be read here, as of the hub without network."""
    try:
        return entry_for(dataset)
    except ValueError:
        return None


def _steps_per_epoch(spec: Mapping[str, Any], entry: DatasetEntry | None) -> float | None:
    if entry is None:
        return None
    recipe = recipe_for(spec["network"], spec["dataset"]).override(spec["recipe"])
    return recipe.steps_per_epoch(entry.train_examples)


def _dense_runs(curves: "pd.DataFrame", overlaps: Mapping[int, Mapping[float, float]]) -> list[DenseRun]:
    dense = curves[curves["method"] == "dense"]
    accuracies: dict[int, list[float]] = {}
    for replicate, accuracy in zip(dense["replicate"], dense["test_accuracy"], strict=True):
        accuracies.setdefault(int(replicate), []).append(100 * float(accuracy))
    return [
        DenseRun(replicate=replicate, curve=accuracies.get(replicate, ()), overlaps=overlaps.get(replicate))
        for replicate in sorted({*accuracies, *overlaps})
    ]


def _facts(
    spec: Mapping[str, Any],
    table: "pd.DataFrame",
    *,
    planned: int,
    images: int | None,
    prunable: tuple[int, int] | None,
) -> dict[str, str]:
    seconds = table.drop_duplicates("job_key")["train_seconds"].sum()
    devices = sorted(set(table["device"].dropna()))
    mixed = " (mixed: numbers of different devices differ in their last digits)" if len(devices) > 1 else ""
    at_once = spec.get("scoring_batch", SCORING_BATCH)  # studies of earlier versions have no such field
    facts = {
        "Network": spec["network"],
        "Data set": spec["dataset"],
        "Inputs": f"normalised {NORMALISATIONS[spec.get('normalise', 'own')]}",
        "Scored examples": f"{spec['examples_per_class']} per class, {at_once} at a time",
        "Test images": f"{images:,}; one is worth {100 / images:g} points" if images else "not recorded",
        "Trials": f"{len(table):,} of {planned:,} finished",
        "Replicates": _replicates(spec["replicates"]),
        "Margin": f"{spec['margin']:g} percentage points",
        "Recipe overrides": ", ".join(f"{key} = {value}" for key, value in spec["recipe"].items()) or "none",
        "Training time": f"{seconds / 3600:.2f} core hours",
        "Device": ", ".join(devices) + mixed,
        "Engine": ", ".join(sorted(set(table["engine"].dropna()))) or "not recorded",
        "Machine of this report": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "Versions": "; ".join(
            f"prunemark {code}, torch {torch}"
            for code, torch in table[["code_version", "torch_version"]].drop_duplicates().itertuples(index=False)
        ),
    }
    if prunable is not None:
        facts["Prunable"] = f"{percent(prunable[0] / prunable[1])} of all {prunable[1]:,} parameters"
    return facts


def _replicates(replicates: Any) -> str:
    return str(replicates)

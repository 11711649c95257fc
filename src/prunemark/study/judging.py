"""From a folder of results to what it says, for the command line, reports and notebooks alike."""

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.datasets import NORMALISATIONS, short_dataset
from prunemark.registry import unknown
from prunemark.reports.theme import display_name
from prunemark.stats import Judged
from prunemark.stats import judge as judge_results
from prunemark.stats.images import ImageShare, image_shares
from prunemark.study.provenance import provenance
from prunemark.study.replicates import parse
from prunemark.study.stopping import Stopping
from prunemark.study.store import Store
from prunemark.study.toml_text import toml_text
from prunemark.study.trials import trials
from prunemark.terms.ablations import ABLATIONS, UNMODIFIED
from prunemark.terms.looks import Looks
from prunemark.terms.metrics import Metric
from prunemark.terms.numbers import counted, percent
from prunemark.terms.scoring import SCORING_BATCH

_CELL = ["method", "ablation", "benchmark", "prune_at", "sparsity"]

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class JudgedStudy(Judged):
    """Verdicts of one study, with all that a report of it shows.

    Attributes:
        name: the study's.
        spec: the study as it was run, every field.
        results: one row per trial, see `prunemark.terms.columns.TRIAL`.
        layers: what masks keep, see `prunemark.terms.columns.LAYER`; once where ablations share them.
        curves: learning curves of unmodified runs, see `prunemark.terms.columns.CURVE`.
        planned: how many trials the study has; `results` has those that have finished.
        shares: how much of each headline difference is the test set's; empty where runs did not store their images.
        toml: the study as a file.
        facts: what a reader must know to trust or repeat the numbers, in the order in which it is shown.
        stopping: where a study with looks stands; None where the number of replicates is fixed, or where it is judged
            by another margin than it was run for.
    """

    name: str
    spec: Mapping[str, Any]
    results: "pd.DataFrame"
    layers: "pd.DataFrame"
    curves: "pd.DataFrame"
    planned: int
    shares: Sequence[ImageShare]
    toml: str
    facts: Mapping[str, str]
    stopping: Stopping | None

    @property
    def methods(self) -> dict[str, str]:
        """Label in the results -> the method's name, or "FILE.py:function"."""
        return {method["label"]: method["name"] for method in self.spec["methods"]}


def judge(results: "pd.DataFrame | str | Path", *, margin: float | None = None, study: str | None = None) -> Judged:
    """Judge the paper's claims by results: `.headline`, and `.claims`, `.cells` and `.ranges` as tables.

    Args:
        results: a folder of results, or a table of results of any origin, with the columns method, sparsity, replicate
            and test_accuracy at least; see `prunemark.stats.judge`.
        margin: the smallest difference that matters, in percentage points; by default the study's own. A table of
            `prunemark.results`, or its file, names it, and the looks by which its replicates were decided; of another
            table it is 0.5, and the number of replicates is taken as fixed.
        study: which study of the folder, by default the last that was run; of a table, by default all.

    Raises:
        ValueError: there is no such study, or none of its trials has finished; a table that is malformed, has no rows,
            or holds rows that no comparison would find, such as those of a method "Random".
        StoreError: the folder holds no results.

    Examples:
        >>> import pandas as pd
        >>> judged = pm.judge(pd.read_csv("docs/results/quickstart/quickstart.csv"))
        >>> judged.claims.query("claim == 'C0' and range == 'matching'")["state"].item()
        'supported'
    """
    if isinstance(results, str | Path):
        return judge_study(results, study=study, margin=margin)
    judged = judge_results(results if study is None else _of_study(results, study), margin=margin)
    if not judged.subjects:
        raise ValueError("results: there are no rows to judge")
    return judged


def _of_study(table: "pd.DataFrame", study: str) -> "pd.DataFrame":
    names: list[str] = list(table["study"].unique()) if "study" in table.columns else []
    if study not in names:
        raise ValueError(unknown("study", study, names))
    return table.loc[table["study"] == study]


def judge_study(folder: str | Path, *, study: str | None = None, margin: float | None = None) -> JudgedStudy:
    """`judge` for a folder of results."""
    with Store.reading(folder) as store:
        specs = store.studies()
        if study is not None and study not in specs:
            raise ValueError(unknown("study", study, specs))
        if not specs:
            raise ValueError(f"{folder} holds no study yet")
        return judge_stored(store, study or list(specs)[-1], margin=margin)


def judge_stored(store: Store, name: str, *, margin: float | None = None) -> JudgedStudy:
    """`judge_study` for a study of an open store."""
    spec = store.studies()[name]
    table = trials(store, name)
    masked = [each for each, ablation in ABLATIONS.items() if each == UNMODIFIED or ablation.own_mask]
    layers = store.layers(name, ablations=masked)
    curves = store.curves(name, ablations=[UNMODIFIED])
    if table.empty:
        raise ValueError(f"no trial of {name} in {store.folder} has finished yet")
    planned = store.planned(name)
    images = next(iter(table["test_images"].dropna()), None)
    replicates = parse(spec["replicates"])
    looks = replicates if isinstance(replicates, Looks) else None
    names = {method["label"]: method["name"] for method in spec["methods"]}
    judged = judge_results(table, margin=margin)
    stopping = None
    if looks and margin in (None, spec["margin"]):
        stopping = _stopping(looks, judged, table, store, name)
    return JudgedStudy(
        subjects=tuple(replace(one, sampling=stopping.words if stopping else "") for one in judged.subjects),
        name=name,
        spec=spec,
        results=table,
        layers=layers,
        curves=curves,
        planned=planned,
        shares=[
            one for each in judged.subjects for one in image_shares(table, store.correct(name), each, methods=names)
        ],
        toml=toml_text(spec),
        facts={
            **_facts(
                spec,
                table,
                planned=planned,
                images=None if images is None else int(images),
                prunable=store.prunable(name),
                metric=judged.subjects[0].standard.metric,
                replicates=_replicates(store.replicates(name), looks, stopping),
            ),
            **provenance(store, name, spec),
        },
        stopping=stopping,
    )


def _stopping(looks: Looks, judged: Judged, table: "pd.DataFrame", store: Store, name: str) -> Stopping:
    counts = [one.settled_of(looks.until) for one in judged.subjects]
    return Stopping(
        looks=looks,
        replicates=store.replicates(name),
        finished=len(table) == store.planned(name),
        failed=bool((table["status"] == "failed").all()),
        settled=sum(settled for settled, _ in counts),
        total=sum(total for _, total in counts),
        trainings=store.trainings(name),
    )


def as_json(judged: JudgedStudy, *, page: Path | None = None) -> str:
    """The headline and every judged claim as JSON: numbers in percentage points, null where there is none.

    Args:
        judged: a study.
        page: of its report, to be named beside them.
    """
    settled = [subject.settled for subject in judged.subjects]
    said = {
        "study": judged.name,
        "headline": judged.headline_with(display_name),
        "fit": all(subject.fitness.fit for subject in judged.subjects),
        "margin": judged.subjects[0].standard.margin,
        "metric": judged.subjects[0].standard.metric.name,
        "unit": judged.subjects[0].standard.metric.unit,
        "trials": {"finished": len(judged.results), "planned": judged.planned},
        "questions": {"settled": sum(done for done, _ in settled), "asked": sum(total for _, total in settled)},
        "report": None if page is None else str(page),
        "claims": [finding.row().to_dict() for subject in judged.subjects for finding in subject.findings],
    }
    return json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False)


def _facts(
    spec: Mapping[str, Any],
    table: "pd.DataFrame",
    *,
    planned: int,
    images: int | None,
    prunable: tuple[int, int] | None,
    metric: Metric,
    replicates: str,
) -> dict[str, str]:
    seconds = table.drop_duplicates("job_key")["train_seconds"].sum()
    devices = sorted(set(table["device"].dropna()))
    mixed = " (mixed: numbers of different devices differ in their last digits)" if len(devices) > 1 else ""
    at_once = spec.get("scoring_batch", SCORING_BATCH)  # studies of earlier versions have no such field
    facts = {
        "Network": spec["network"],
        "Data set": short_dataset(spec["dataset"]),
        "Inputs": f"normalised {NORMALISATIONS[spec.get('normalise', 'own')]}",
        "Scored examples": f"{spec['examples_per_class']} per class, {at_once} at a time",
        "Test images": f"{images:,}; one is worth {100 / images:g} points" if images else "not recorded",
        "Trials": f"{len(table):,} of {planned:,} finished",
        "Replicates": replicates,
        "Margin": f"{spec['margin']:g} {'percentage points' if metric.name == 'accuracy' else metric.unit}",
        "Metric": f"{metric.noun}, {metric.direction} is better",
        "Training time": f"{seconds / 3600:.2f} core hours",
        "Device": ", ".join(devices) + mixed,
        "Processor": ", ".join(sorted(set(table["processor"].dropna()))) or "not recorded",
        "Engine": _engines(table),
        "Machine of this report": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "Versions": "; ".join(
            f"prunemark {code}, torch {torch}"
            for code, torch in table[["code_version", "torch_version"]].drop_duplicates().itertuples(index=False)
        ),
    }
    if prunable is not None:
        facts["Prunable"] = f"{percent(prunable[0] / prunable[1])} of all {prunable[1]:,} parameters"
    return facts


def _engines(table: "pd.DataFrame") -> str:
    """How many trainings each engine took, and in how many cells replicates were trained by different ones."""
    recorded = table.dropna(subset=["engine"])
    counts = Counter(map(str, recorded.drop_duplicates("job_key")["engine"]))
    if len(counts) < 2:
        return next(iter(counts), "not recorded")
    words = ", ".join(f"{name} for {counted(counts[name], 'training')}" for name in sorted(counts))
    of_a_cell: dict[tuple[object, ...], set[str]] = {}
    for *cell, engine in recorded[[*_CELL, "engine"]].itertuples(index=False, name=None):
        of_a_cell.setdefault(tuple(cell), set()).add(engine)
    mixed = sum(len(engines) > 1 for engines in of_a_cell.values())
    cells = f"; mixed within {mixed:,} of {len(of_a_cell):,} cells" if mixed else "; one engine within each cell"
    return f"{words}{cells}: their numbers differ by rounding"


def _replicates(begun: int, looks: Looks | None, stopping: Stopping | None) -> str:
    if looks is None:
        return str(begun)
    return f"{begun} ({looks})" + (f"; {stopping.words}" if stopping else "")

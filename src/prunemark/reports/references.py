"""Published numbers that stand beside a shipped study's own: its reference points.

They are a table beside the study's file, with the columns network, dataset, method, sparsity, run (from 1) and
test_accuracy (percent), under comments that name where they were taken from.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published run: its method, sparsity in [0, 1), number and final test accuracy in percent."""

    method: str
    sparsity: float
    run: int
    accuracy: float


def references(results: "DataFrame") -> list[Reference]:
    """The reference points of the study that results are of; none where the study ships with none.

    Args:
        results: of one study, network and data set.
    """
    subjects = results[["study", "network", "dataset"]].drop_duplicates()
    if len(subjects) != 1:
        return []
    ((study, network, dataset),) = subjects.itertuples(index=False, name=None)
    return [
        Reference(
            method=row["method"],
            sparsity=float(row["sparsity"]),
            run=int(row["run"]),
            accuracy=float(row["test_accuracy"]),
        )
        for row in _table(str(study))
        if (row["network"], row["dataset"]) == (network, dataset)
    ]


def sentence(found: Sequence[Reference]) -> str:
    """Explanation of reference points for a caption; empty if there are none."""
    if not found:
        return ""
    dense = [one.accuracy for one in found if one.sparsity == 0]
    unpruned = f"; dense networks there: {min(dense):.1f} to {max(dense):.1f} %" if dense else ""
    return f"Open points are published runs, see the study’s file for their source{unpruned}."


def _table(study: str) -> list[dict[str, str]]:
    folder = resources.files("prunemark") / "studies" / "reference"
    for file in folder.iterdir():
        if file.name == f"{study.removeprefix('reference-')}.csv" and study.startswith("reference-"):
            lines = file.read_text(encoding="utf-8").splitlines()
            return list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return []

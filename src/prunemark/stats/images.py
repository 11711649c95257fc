"""Share of a study's headline differences that is due to the choice of test images, from each run's right answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prunemark.stats.bootstrap import TwoWay, split
from prunemark.stats.cells import Cell, cell_of, experiments
from prunemark.stats.contrasts import Contrast, mean, weighted
from prunemark.stats.findings import Finding
from prunemark.stats.questions import questions
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING

if TYPE_CHECKING:
    import pandas as pd

    from prunemark.stats.judging import Subject

Right = Mapping[int, np.ndarray]
"""Replicate -> boolean array (images,): which test images were classified correctly."""
_NEAR = 1e-6


@dataclass(frozen=True, kw_only=True)
class ImageShare:
    """One headline difference, and how its uncertainty splits into that of trainings and that of test images."""

    finding: Finding
    split: TwoWay


def image_shares(
    results: "pd.DataFrame",
    correct: Sequence[np.ndarray | None],
    subject: "Subject",
    *,
    methods: Mapping[str, str] | None = None,
) -> list[ImageShare]:
    """The three numbers of C0 split, or those of C2 where C0 is not tested; without those whose images are not stored.

    A split whose difference is not that of the finding, because some of its runs stored no images, is left out.

    Args:
        results: a table of results, the subject's among them.
        correct: for each of its rows which test images were right, None where that was not stored.
        subject: what the results say.
        methods: label in the results -> the method's name; a label missing in it is a name.
    """
    key = (subject.study, subject.network, subject.dataset)
    right: dict[Cell, dict[int, np.ndarray]] = {}
    for row, bits in zip(results.to_dict("records"), correct, strict=True):
        if bits is not None and key == tuple(str(row[name]) for name in ("study", "network", "dataset")):
            right.setdefault(cell_of(row), {})[int(row["replicate"])] = bits
    (experiment,) = (one for one in experiments(results) if (one.study, one.network, one.dataset) == key)
    asked = {(q.claim, q.subject): q.contrasts for q in questions(experiment, methods=methods)}
    found: list[ImageShare] = []
    for finding, contrast in _headline(subject, asked):
        whole = _differences(contrast, right)
        if finding.effect is None or whole is None:
            continue
        parts = split(whole)
        same = parts.replicates == finding.effect.replicates
        if same and abs(parts.difference - finding.effect.difference) < _NEAR:
            found.append(ImageShare(finding=finding, split=parts))
    return found


Asked = Mapping[tuple[str, str], Mapping[float, Contrast]]


def _headline(subject: "Subject", asked: Asked) -> list[tuple[Finding, Contrast]]:
    tested = [one for one in subject.conclusions.values() if one.whole.effect is not None]
    if not tested:
        range_ = next(iter(subject.conclusions), "all")
        about = [f for f in subject.findings if (f.claim, f.range) == ("C2", range_) and not f.members and f.effect]
        return [(f, _over(asked["C2", f.subject], f)) for f in about]
    one = tested[0]
    of_mark = asked.get(("C6a", MAGNITUDE_AFTER_TRAINING), {})
    found: list[tuple[Finding, Contrast]] = []
    if one.methods.effect is not None:
        found.append((one.methods, mean([_over(asked["C3", f.subject], f) for f in one.each])))
    if one.mark.effect is not None:
        found.append((one.mark, _over(of_mark, one.mark)))
    parts: list[Contrast] = []
    for s in one.contrast.sparsities:
        here = [asked["C3", f.subject][s] for f in one.each if s in f.sparsities]
        parts.append(weighted([(1.0, mean(here)), (-1.0, of_mark[s])]))
    if one.contrast.effect is not None and parts:
        found.append((one.contrast, mean(parts)))
    return found


def _over(contrasts: Mapping[float, Contrast], finding: Finding) -> Contrast:
    return mean([contrasts[s] for s in finding.sparsities])


def _differences(contrast: Contrast, right: Mapping[Cell, Right]) -> np.ndarray | None:
    """The contrast on each image, in percentage points: (replicates, images)."""
    if any(cell not in right for cell in contrast):
        return None
    common = sorted(set.intersection(*(set(right[cell]) for cell in contrast)))
    if len(common) < 2:
        return None
    return np.stack(
        [100.0 * sum(weight * right[cell][r].astype(float) for cell, weight in contrast.items()) for r in common]
    )

import numpy as np
import pandas as pd
import pytest

from prunemark.stats import judge
from prunemark.stats.images import image_shares
from tests.reports.conftest import make_results

IMAGES = 200


def with_images(table: pd.DataFrame) -> tuple[pd.DataFrame, list[np.ndarray | None]]:
    """The table with accuracies rounded to whole images, and images to match: the easiest ones are right."""
    right = (IMAGES * table["test_accuracy"]).round().astype(int)
    bits = [np.arange(IMAGES) < count for count in right]
    return table.assign(test_accuracy=right / IMAGES), bits


def test_the_three_numbers_of_the_conclusion_are_split() -> None:
    table, bits = with_images(make_results(sparsities=(0.2, 0.512)))
    (subject,) = judge(table).subjects
    found = image_shares(table, bits, subject)
    assert [one.finding.claim for one in found] == ["C0a", "C0b", "C0c"]
    for one in found:
        assert one.finding.effect is not None
        assert one.split.difference == pytest.approx(one.finding.effect.difference, abs=1e-9)
        assert (one.split.replicates, one.split.images) == (5, IMAGES)


def test_without_a_conclusion_the_distance_to_the_mark_is_split() -> None:
    table, bits = with_images(make_results(ablations=("unmodified",)))
    (subject,) = judge(table).subjects
    assert {one.finding.claim for one in image_shares(table, bits, subject)} == {"C2"}


def test_runs_without_images_split_nothing() -> None:
    table, bits = with_images(make_results(sparsities=(0.2, 0.512)))
    (subject,) = judge(table).subjects
    assert image_shares(table, [None] * len(table), subject) == []
    missing = [
        None if method == "snip" and r == 4 else one
        for one, method, r in zip(bits, table.method, table.replicate, strict=True)
    ]
    # Four replicates have all of their images, and the finding is about five.
    assert {one.finding.claim for one in image_shares(table, missing, subject)} == {"C0b"}

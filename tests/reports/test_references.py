"""Published numbers beside a shipped study's own."""

import pandas as pd
import pytest

from prunemark.reports import charts
from prunemark.reports.figures import figures
from prunemark.reports.references import references
from prunemark.study.plan import plan
from prunemark.study.spec import Study
from tests.reports.conftest import frame, make_results, row
from tests.reports.specs import WORDS, layers, values

NAME = "reference/synflow-vgg16-cifar100"
STUDY = Study.load(NAME)


@pytest.fixture
def mine() -> pd.DataFrame:
    """Results of the study, all of them 70 %, the dense network's 73 %."""
    subject = {"study": STUDY.name, "network": STUDY.network, "dataset": STUDY.dataset, "test_accuracy": 0.7}
    rows = [
        row(**subject, method=trial.method, sparsity=trial.sparsity, replicate=trial.replicate)
        for trial in plan(STUDY).trials
        if trial.method != "dense"
    ]
    dense = [row(**(subject | {"test_accuracy": 0.73}), method="dense", sparsity=0.0, replicate=r) for r in range(3)]
    return frame([*rows, *dense])


def test_every_cell_of_the_study_has_three_published_runs(mine: pd.DataFrame) -> None:
    found = references(mine)
    assert len(found) == 3 * 3 * 6
    cells = {(one.method, one.sparsity) for one in found if one.sparsity}
    assert cells == {(method.name, sparsity) for method in STUDY.methods for sparsity in STUDY.sparsities}
    accuracy = {(one.method, one.sparsity, one.run): one.accuracy for one in found}
    # The corners of the table in the specification.
    assert accuracy["random", 0, 1] == 72.55
    assert accuracy["synflow", 0.99, 3] == 62.92
    assert accuracy["magnitude", 0.9437659, 2] == 70.47


def test_the_study_is_the_one_that_was_published(mine: pd.DataFrame) -> None:
    recipe = STUDY.full_recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.momentum) == (160, 128, 0.1, 0.9)
    assert (recipe.drops, recipe.weight_decay, recipe.augment) == ((60, 120), 1e-4, ("crop", "flip"))
    assert [method.entry_rounds for method in STUDY.methods] == [1, 1, 100]
    for sparsity, compression in zip(STUDY.sparsities, (0.5, 1, 1.25, 1.5, 2), strict=True):
        assert 1 - sparsity == pytest.approx(10**-compression, abs=1e-7)


def test_they_are_drawn_as_open_points_of_their_methods(mine: pd.DataFrame) -> None:
    chart = charts.accuracy_chart(mine, **WORDS)
    shown = [one for one in values(chart) if "published" in one]
    assert len(shown) == 3 * 3 * 5, "the dense ones are in the caption"
    (synflow,) = [one for one in shown if one["line"] == "SynFlow" and one["sparsity"] == "99 %" and one["run"] == 3]
    assert (synflow["published"], synflow["remaining"]) == (62.92, pytest.approx(1))
    (layer,) = [one for one in layers(chart) if one["encoding"].get("y", {}).get("field") == "published"]
    assert layer["mark"]["filled"] is False
    accuracy = figures(mine, subject="x", ranges=None)[0]
    assert "Open points are published runs" in accuracy.caption
    assert "dense networks there: 72.5 to 73.3 %" in accuracy.caption
    assert "<svg" in accuracy.svg()


@pytest.mark.parametrize("change", [{"network": "resnet-20"}, {"dataset": "cifar-10"}, {"study": "another"}])
def test_other_results_have_none(mine: pd.DataFrame, change: dict[str, str]) -> None:
    assert references(mine.assign(**change)) == []
    assert references(make_results()) == []
    assert "Open points" not in figures(mine.assign(**change), subject="x", ranges=None)[0].caption

"""Studies on data of one's own: keys, jobs, and what is found wrong before they run."""

from pathlib import Path
from typing import Any

import pytest

from prunemark.study import jobs
from prunemark.study.job import Context, Job
from prunemark.study.plan import plan
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study

FILE = """
import torch
from torch import nn

DRAW = torch.Generator().manual_seed(0)
NUMBERS = torch.rand(120, 4, generator=DRAW)


def data():
    targets = (NUMBERS[:, 0] > NUMBERS[:, 1]).long()
    return (NUMBERS[:80], targets[:80]), (NUMBERS[80:], targets[80:])


def values():
    return (NUMBERS[:80], NUMBERS[:80].sum(1)), (NUMBERS[80:], NUMBERS[80:].sum(1))


def tokens():
    text = torch.arange(401) % 5
    return (text[:-1].view(100, 4)[:80], text[1:].view(100, 4)[:80]), (
        text[:-1].view(100, 4)[80:],
        text[1:].view(100, 4)[80:],
    )


def far(outputs, targets):
    return (outputs - targets).abs().max()


def build(input_shape, classes):
    return nn.Sequential(nn.Linear(input_shape[0], 8), nn.ReLU(), nn.Linear(8, classes))


def reader(input_shape, classes):
    return nn.Sequential(nn.Embedding(classes, 8), nn.Linear(8, classes))
"""


def study(folder: Path, *, data: str = "data", network: str = "build", **changes: Any) -> Study:
    path = folder / "mine.py"
    if not path.exists():
        path.write_text(FILE)
    fields = {
        "name": "own",
        "network": f"{path}:{network}",
        "dataset": f"{path}:{data}",
        "methods": ["snip"],
        "sparsities": [0.5],
        "replicates": 1,
        "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.01},
    }
    return Study(**(fields | changes))


def all_done(made: Study, folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for job in plan(made).jobs:
        outcome = jobs.execute(job, Context(artifacts=str(folder)))
        assert outcome.status == "done", outcome.error
        result |= outcome.result
    return result


def data_of(jobs_: tuple[Job, ...]) -> set[str]:
    return {job.spec["dataset"]["fingerprint"] for job in jobs_}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one file, which is read once for each of its data sets."""
    return tmp_path_factory.mktemp("own")


def test_the_key_holds_the_data_and_not_their_file(folder: Path, tmp_path: Path) -> None:
    one = plan(study(folder))
    assert {job.data for job in one.jobs} == {f"{folder / 'mine.py'}:data"}
    assert all(job.files for job in one.jobs)
    assert {trial.dataset for trial in one.trials} == {"mine.py:data"}
    (tmp_path / "mine.py").write_text(FILE.replace("def data", "# Other words, and the same data.\ndef data"))
    other = Study(**(study(tmp_path).model_dump() | {"network": one.study.network}))
    assert {job.key for job in plan(other).jobs} == {job.key for job in one.jobs}
    (tmp_path / "mine.py").write_text(FILE.replace("(NUMBERS[:, 0] >", "(NUMBERS[:, 0] <"))
    assert data_of(plan(study(tmp_path)).jobs).isdisjoint(data_of(one.jobs))


@pytest.mark.parametrize(("data", "network"), [("data", "build"), ("values", "build"), ("tokens", "reader")])
def test_jobs_run_for_every_task(folder: Path, tmp_path: Path, data: str, network: str) -> None:
    margin = {"margin": 5.0} if data == "values" else {}
    result = all_done(study(folder, data=data, network=network, **margin), tmp_path)
    assert (result["test_accuracy"] != result["test_accuracy"]) == (data == "values")
    assert result["test_loss"] > 0


def test_a_job_refuses_data_that_have_changed(tmp_path: Path) -> None:
    job = plan(study(tmp_path)).jobs[0]
    (tmp_path / "mine.py").write_text(FILE.replace("NUMBERS[:, 0] >", "NUMBERS[:, 0] <"))
    outcome = jobs.execute(job, Context(artifacts=str(tmp_path)))
    assert outcome.status == "failed"
    assert "changed" in outcome.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "values", "recipe": {"loss": "cross-entropy"}}, 'the loss "cross-entropy" does not fit regression'),
        ({"data": "tokens", "network": "reader", "recipe": {"mixup": 0.1}}, "mixup mixes numbers, and tokens are none"),
        ({"recipe": {"augment": ["flip"]}}, "augment changes images with a class or values each"),
        ({"data": "missing"}, 'unknown name "missing"'),
        ({"examples_per_class": 500}, "give 40 a class at most"),
    ],
)
def test_what_does_not_fit_the_data_is_found_while_planning(folder: Path, changes: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study(folder, **changes)


def test_networks_of_images_are_refused_for_other_examples(folder: Path) -> None:
    with pytest.raises(StudyError, match="takes images to one output per class or value"):
        Study(**(study(folder).model_dump() | {"network": "lenet-300-100"}))


def test_an_unknown_data_set_says_what_else_one_can_be() -> None:
    with pytest.raises(StudyError, match=r'one of your own is "FILE.py:data", a file .npz'):
        Study(name="s", network="resnet-8", dataset="digit", methods=["snip"], sparsities=[0.5])


def test_a_metric_of_ones_own_is_computed_at_the_end_and_is_part_of_the_keys_of_trainings(folder: Path) -> None:
    named = {"name": f"{folder / 'mine.py'}:far", "direction": "lower", "unit": "m"}
    made = study(folder, data="values", metric=named, margin=0.1)
    plain = study(folder, data="values", margin=5.0)
    assert (made.measure.direction, made.measure.unit, plain.measure.name) == ("lower", "m", "loss")
    keys, others = ({job.key for job in plan(each).jobs if not job.steps} for each in (made, plain))
    assert keys == others
    assert not {job.key for job in plan(made).jobs if job.steps} & {job.key for job in plan(plain).jobs}
    assert all_done(made, folder)["metric_value"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "values"}, "margin: say which difference of the test loss, in thousandths, counts as none"),
        ({"metric": "mine.py:far"}, "mine.py:far has no direction"),
        ({"data": "values", "metric": "accuracy"}, "regression has no accuracy"),
        ({"metric": "accurac"}, 'unknown metric "accurac"'),
    ],
)
def test_a_metric_that_says_too_little_is_found_while_planning(folder: Path, changes: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study(folder, **changes)

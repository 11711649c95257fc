"""Studies of methods, networks and data sets of other packages: jobs know by which code they were done."""

import json
from pathlib import Path
from typing import Any

import pytest

from prunemark.parts import part_place
from prunemark.study.exports import results
from prunemark.study.job import Context
from prunemark.study.jobs import execute
from prunemark.study.judging import judge_study
from prunemark.study.plan import plan
from prunemark.study.run import run
from prunemark.study.spec import Study
from tests.study.inline import InlineExecutor
from tests.thirdparty import Offer

FIELDS: dict[str, Any] = {
    "name": "theirs", "network": "one-layer", "dataset": "stripes", "methods": ["wanda", "magnitude"],
    "sparsities": [0.5], "replicates": 1, "recipe": {"epochs": 1, "batch_size": 8},
}  # fmt: skip


@pytest.fixture
def wanda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    return Offer.install(tmp_path / "site", monkeypatch, "wanda")


def keys(**changes: Any) -> dict[tuple[str, str], str]:
    """(method, kind of job) -> key, of masks and trainings."""
    made = plan(Study(**(FIELDS | changes)))
    jobs = {job.key: job for job in made.jobs}
    trained = {trial.method: trial.job_key for trial in made.trials}
    return {(method, "mask"): jobs[key].inputs.get("mask", "") for method, key in trained.items()} | {
        (method, "train"): key for method, key in trained.items()
    }


def test_a_changed_package_has_other_jobs_and_only_those(wanda: Offer) -> None:
    study = {"network": "lenet-300-100", "dataset": "digits"}
    first = keys(**study)
    assert keys(**study) == first
    (wanda.code / "code.py").write_text(
        (wanda.code / "code.py").read_text().replace("power: float = 1", "power: float = 2")
    )
    edited = keys(**study)
    changed = {("wanda", "mask"), ("wanda", "train")}
    assert {each for each in first if edited[each] != first[each]} == changed
    assert keys()["dense", "train"] != keys(dataset="stripes", network="lenet-300-100")["dense", "train"]


def test_a_new_version_has_other_jobs(wanda: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keys()
    other = Offer.install(tmp_path / "newer", monkeypatch, "wanda")
    other.release("1.3")
    (made,) = {package for _, package in Study(**FIELDS).packages}
    assert str(made) == "prunemark-wanda 1.3"
    assert all(key != keys()[each] for each, key in first.items() if key)


def test_the_plan_and_the_report_name_the_package(wanda: Offer, tmp_path: Path, inline: str) -> None:
    study = Study(**FIELDS)
    note = "wanda is of the package prunemark-wanda 1.2; a change of it is noticed and its jobs run again"
    assert note in plan(study).describe()
    summary = run(study, out=tmp_path / "out", executor=inline, workers=1)
    assert summary.failed == 0, summary.failures
    assert judge_study(tmp_path / "out").facts["Other packages"] == (
        "one-layer of prunemark-wanda 1.2; stripes of prunemark-wanda 1.2; wanda of prunemark-wanda 1.2"
    )
    assert set(results(tmp_path / "out")["status"]) == {"done"}
    again = run(study, out=tmp_path / "out", executor=inline, workers=1)
    assert again.done == 0


def test_a_package_that_changes_while_a_study_runs_fails_its_jobs(
    wanda: Offer, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = InlineExecutor.wait

    def edited(self: InlineExecutor, *limits: float) -> Any:
        if self.jobs[-1].kind == "train":
            (wanda.code / "new.py").write_text("# new")
        return wait(self, *limits)

    monkeypatch.setattr(InlineExecutor, "wait", edited)
    summary = run(Study(**FIELDS), out=tmp_path / "out", executor=inline, workers=1)
    assert summary.failed
    reason = "the package prunemark-wanda has changed since the study began; run the study again"
    assert all(reason in why for _, why in summary.failures)


def test_jobs_with_code_of_others_say_so(wanda: Offer) -> None:
    made = plan(Study(**(FIELDS | {"network": "lenet-300-100", "dataset": "digits"})))
    foreign = {(job.kind, json.dumps(job.spec.get("method", {}).get("name"))): job.foreign for job in made.jobs}
    assert foreign["mask", '"wanda"'] == ["prunemark-wanda 1.2"]
    assert foreign["mask", '"magnitude"'] == foreign["dense", "null"] == []


def test_rounds_of_a_packages_method_are_not_resumed(wanda: Offer, tmp_path: Path) -> None:
    fields = FIELDS | {"network": "lenet-300-100", "dataset": "digits"}
    methods = ["wanda", {"name": "synflow", "rounds": 2}]
    kept: dict[str, bool] = {}
    for job in plan(Study(**(fields | {"methods": methods}))).jobs:
        if job.kind == "mask" or job.spec.get("step") == 0:
            done = execute(job, Context(artifacts=str(tmp_path), checkpoint_s=0))
            assert done.status == "done", done.error
        if job.kind == "mask":
            kept[job.spec["method"]["name"]] = part_place(tmp_path, job.key).exists()
    assert kept == {"wanda": False, "synflow": True}, "what its code keeps to itself between rounds is not known"

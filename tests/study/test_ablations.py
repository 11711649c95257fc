"""Every ablation of the table goes all the way: plan, jobs, store, judging, report. A new one is one entry."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from prunemark.masks import Masks
from prunemark.study.executors import EXECUTORS, ExecutorEntry
from prunemark.study.judging import JudgedStudy, judge_study
from prunemark.study.plan import plan
from prunemark.study.reporting import write
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from prunemark.terms.ablations import ABLATIONS, REDRAWS, UNMODIFIED, Ablation, chosen_ablations
from tests.study.conftest import TINY

EVERY = TINY | {
    "name": "every",
    "methods": ["snip"],
    "benchmarks": ["magnitude-after-training"],
    "ablations": list(chosen_ablations()),
    "replicates": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a study with every ablation."""
    out = tmp_path_factory.mktemp("every")
    with pytest.MonkeyPatch.context() as patch:
        entry = ExecutorEntry(target="tests.study.inline:InlineExecutor", summary="for tests")
        patch.setitem(EXECUTORS, "inline", entry)
        summary = run(Study(**EVERY), out=out, executor="inline")
    assert (summary.failed, summary.failures) == (0, ())
    return out


@pytest.fixture(scope="module")
def judged(folder: Path) -> JudgedStudy:
    return judge_study(folder)


def row(table: pd.DataFrame, ablation: str, benchmark: str) -> "pd.Series[str]":
    (found,) = (
        r
        for _, r in table.iterrows()
        if (r["ablation"], r["benchmark"]) == (ablation, benchmark) and r["method"] != "dense"
    )
    return found


@pytest.mark.parametrize("benchmark", ["", "magnitude-after-training"])
@pytest.mark.parametrize("name", chosen_ablations())
def test_each_ablation_changes_what_its_flags_say(folder: Path, judged: JudgedStudy, name: str, benchmark: str):
    flags = ABLATIONS[name]
    plain, ablated = (row(judged.results, each, benchmark) for each in (UNMODIFIED, name))
    assert ablated["density"] == plain["density"]
    with Store.reading(folder) as store:
        job, unmodified = store.details(ablated["job_key"]), store.details(plain["job_key"])
        masks = [Masks.load(store.artifact(each["inputs"]["mask"])) for each in (unmodified, job)]
    assert (masks[0] == masks[1]) == (not flags.inverts)
    assert ("shuffle" in job["result"]["certificates"]) == flags.shuffles
    redrawn = REDRAWS.keys() & job["result"]["certificates"].keys()
    assert redrawn == ({flags.redraws} if flags.redraws else set())
    assert ablated["test_accuracy"] != plain["test_accuracy"] or ablated["test_loss"] != plain["test_loss"]


def test_reports_name_every_ablation(judged: JudgedStudy, tmp_path: Path):
    page = write(judged, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    for ablation in chosen_ablations().values():
        assert ablation.display_name in text


def test_looks_are_as_many_as_ablations():
    from prunemark.reports.theme import ablation_styles

    styles = ablation_styles(ABLATIONS)
    assert list(styles) == list(ABLATIONS)
    assert len({(s.colour, s.dash, s.shape) for s in styles.values()}) == len(styles)


def test_an_ablation_is_one_entry(monkeypatch: pytest.MonkeyPatch):
    """Shuffled and inverted: not science, but planned, judged and drawn like any other."""
    entry = Ablation(summary="for tests", display_name="both ways", phrase=", both ways", shuffles=True, inverts=True)
    monkeypatch.setitem(ABLATIONS, "both", entry)
    study = Study(**(EVERY | {"ablations": ["both"]}))
    jobs = {job.key: job for job in plan(study).jobs}
    (trial,) = (t for t in plan(study).trials if t.ablation == "both" and not t.benchmark)
    assert jobs[trial.job_key].spec["shuffle"]
    assert jobs[jobs[trial.job_key].inputs["mask"]].spec["invert"]


@pytest.mark.parametrize("name", REDRAWS)
def test_redraws_are_certified(name: str):
    from prunemark.networks import network

    model = network("lenet-300-100", input_shape=(1, 8, 8), classes=10, seed=3)
    fresh, certificate = REDRAWS[name].load()(model, seed=5, build=None, initial=model)
    weight, new = model.state_dict()["fc1.weight"], fresh.state_dict()["fc1.weight"]
    assert not torch.equal(weight, new)
    assert torch.equal(weight.abs(), new.abs()) == (name == "signs")
    assert torch.equal(weight.signbit(), new.signbit()) == (name == "magnitudes")
    assert certificate.changed > 0

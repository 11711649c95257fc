"""Studies whose trainings are taken by the sparse engine, all of them or some."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prunemark.study.exports import results
from prunemark.study.judging import judge_study
from prunemark.study.problems import StudyError
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store

Tiny = Callable[..., Study]


def test_a_study_resumed_with_another_engine_says_so(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    few = {"methods": ["random"], "benchmarks": [], "ablations": []}
    run(tiny(**few), out=tmp_path, executor=inline, engine="dense")
    more = tiny(**few, replicates=2)
    run(more, out=tmp_path, executor=inline, engine="auto")
    table = results(tmp_path)
    assert set(table[table["method"] == "dense"]["engine"]) == {"dense"}
    assert table[table["method"] == "random"].set_index("replicate")["engine"].to_dict() == {0: "dense", 1: "sparse"}
    assert judge_study(tmp_path).facts["Engine"] == (
        "dense for 3 trainings, sparse for 1 training; mixed within 1 of 2 cells: their numbers differ by rounding"
    )
    with Store.reading(tmp_path) as store:
        key = table[table["engine"] == "sparse"]["job_key"].item()
        assert store.details(key)["result"]["engine_reason"].startswith("the masks leave")


def test_every_training_of_a_study_may_be_sparse(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    study = tiny(methods=["random"], benchmarks=[], ablations=[])
    assert run(study, out=tmp_path / "sparse", executor=inline, engine="sparse").failed == 0
    assert set(results(tmp_path / "sparse")["engine"]) == {"sparse"}
    other = tiny(methods=["random"], benchmarks=[], ablations=[], network="vit-tiny", network_options={})
    with pytest.raises(StudyError, match="on digits: the sparse engine cannot train the model: torch"):
        run(other, out=tmp_path / "vit", executor=inline, engine="sparse")
    assert not (tmp_path / "vit").exists()

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from prunemark.masks import Masks
from prunemark.study.exports import export, results
from prunemark.study.job import Outcome
from prunemark.study.judging import judge_study
from prunemark.study.lock import StoreError
from prunemark.study.plan import Plan, plan
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from prunemark.terms import columns

Tiny = Callable[..., Study]

BRIEF = [
    *("study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "density"),
    *("effective_density", "unscored", "replicate", "test_accuracy", "test_loss", "train_seconds", "status", "job_key"),
    *("code_version", "torch_version", "device", "engine", "processor"),
    *("method_name", "margin", "looks", "test_images", "classes", "steps_per_epoch", "last_gain", "initial_overlap"),
    *("metric", "metric_value", "metric_direction", "metric_unit"),
]


def outcome(**result: object) -> Outcome:
    return Outcome(status="done", result=result, seconds=1.0, device="cpu", torch_version="2", code_version="0")


def filled(folder: Path, study: Study) -> Plan:
    """A store in which every job of the study is done, with made-up numbers."""
    job_plan = plan(study)
    with Store.writing(folder) as store:
        store.begin(job_plan)
        for i, job in enumerate(job_plan.jobs):
            numbers = {"test_accuracy": i / 100, "test_loss": 1.5, "train_seconds": 2.0, "density": 0.25}
            store.record(job, outcome(**numbers, engine="dense", processor="abacus"))
    return job_plan


def test_results_have_exactly_these_columns_and_types(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    table = results(tmp_path)
    assert list(table.columns) == BRIEF == list(columns.TRIAL)
    numbers = {name for name in BRIEF if table[name].dtype == "float64"}
    counts = {"sparsity", "density", "effective_density", "unscored"}
    assert numbers == counts | {
        *("test_accuracy", "test_loss", "train_seconds", "margin", "last_gain", "initial_overlap", "metric_value")
    }
    assert table["replicate"].dtype == "int64"
    assert list(table["job_key"]) == [trial.job_key for trial in job_plan.trials], "in the order of the plan"
    dense = table.iloc[0]
    assert (dense["method"], dense["ablation"], dense["benchmark"], dense["prune_at"]) == (
        "dense",
        "unmodified",
        "",
        "",
    )
    assert (dense["sparsity"], dense["status"], dense["device"]) == (0, "done", "cpu")


def test_layers_say_what_each_trial_keeps(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    study = tiny(methods=["random", "snip"], ablations=["shuffle", "reinit"], sparsities=[0, 0.9])
    run(study, out=tmp_path, executor=inline)
    with Store.reading(tmp_path) as store:
        layers = store.layers("tiny")
        artifacts = store.artifacts
    expected = ["study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "replicate"]
    assert (
        list(layers.columns)
        == [*expected, "layer", "kept", "total", "units_by_kept_inputs", "effective", "dead_units", "units"]
        == list(columns.LAYER)
    )
    # Neither the dense network nor sparsity 0 has a mask; benchmarks and SNIP have three ablations, random one.
    assert len(layers) == 3 * (3 + 3 + 1)
    assert set(layers["sparsity"]) == {0.9}
    # Reports draw each mask once: reinitialised networks have those of unmodified ones.
    assert set(judge_study(tmp_path).layers["ablation"]) == {"unmodified", "shuffle"}
    snip = layers[(layers["method"] == "snip")].set_index(["ablation", "layer"])
    (job,) = (j for j in plan(study).jobs if j.kind == "mask" and j.spec["method"] == {"name": "snip"})
    masks = Masks.load(artifacts / f"{job.key}.safetensors")
    for name, mask in masks.items():
        row = snip.loc[("unmodified", name)]
        assert (row["kept"], row["total"]) == (int(mask.sum()), mask.numel())
        assert row["units_by_kept_inputs"] == Counter(mask.sum(1).tolist())
        assert snip.loc[("reinit", name)].equals(row)
        shuffled = snip.loc[("shuffle", name)]
        assert shuffled["kept"] == row["kept"]
        assert sum(k * n for k, n in shuffled["units_by_kept_inputs"].items()) == row["kept"]
    assert (
        snip.loc[("shuffle", "fc1.weight")]["units_by_kept_inputs"]
        != snip.loc[("unmodified", "fc1.weight")]["units_by_kept_inputs"]
    )


CURVE = {"step": [3], "epoch": [1], "train_loss": [0.5], "test_loss": [0.75], "test_accuracy": [0.25]}


def test_curves_have_a_row_per_epoch_and_old_trainings_none(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    empty = results(tmp_path, what="curves")
    assert list(empty.columns) == list(columns.CURVE)
    assert len(empty) == 0
    last = job_plan.jobs[-1]
    with Store.writing(tmp_path) as store:
        # What earlier versions stored of every training.
        store.record(job_plan.jobs[-2], outcome(test_accuracy=0.5, history=[]))
        store.record(last, outcome(test_accuracy=0.5, curve=CURVE))
    table = results(tmp_path, what="curves", study="tiny")
    numbers = empty.select_dtypes("number")
    assert table[numbers.columns].dtypes.equals(numbers.dtypes)
    assert len(numbers.columns) == 7
    trials = [trial for trial in job_plan.trials if trial.job_key == last.key]
    assert len(table) == len(trials) == 1
    row = table.iloc[0]
    assert (row["method"], row["ablation"], row["job_key"]) == (trials[0].method, trials[0].ablation, last.key)
    assert [row[name] for name in CURVE] == [3, 1, 0.5, 0.75, 0.25]
    path = export(tmp_path, what="curves")
    assert path == tmp_path / "curves.csv"
    assert list(pd.read_csv(path).columns) == list(columns.CURVE)
    with pytest.raises(ValueError, match='unknown table "curve"; known: cells, claims, curves, layers, trials'):
        results(tmp_path, what="curve")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match='unknown study "tini"'):
        results(tmp_path, what="curves", study="tini")


def test_an_engine_or_processor_that_was_not_recorded_is_missing(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    with Store.writing(tmp_path) as store:
        store.record(job_plan.jobs[-1], outcome(test_accuracy=0.5))
    table = results(tmp_path).set_index("job_key")
    for column, name in (("engine", "dense"), ("processor", "abacus")):
        assert pd.isna(table[column][job_plan.jobs[-1].key])
        assert set(table[column].dropna()) == {name}


def test_a_curve_without_accuracies_as_that_of_a_regression_is_no_damage(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    with Store.writing(tmp_path) as store:
        for job in job_plan.jobs:
            store.record(job, outcome(test_accuracy=math.nan, curve=CURVE | {"test_accuracy": [math.nan]}))
    assert results(tmp_path)["last_gain"].isna().all()


def test_the_curve_of_dense_training_is_that_of_its_whole_chain(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    recipe = {"epochs": 3}
    whole = tiny(methods=[], benchmarks=[], ablations=[], recipe=recipe)
    cut = tiny(name="cut", methods=["snip"], benchmarks=[], ablations=[], recipe=recipe, prune_at=["1ep", "27it"])
    for study, folder in ((whole, "whole"), (cut, "cut")):
        run(study, out=tmp_path / folder, executor=inline)
    tables = [results(tmp_path / folder, what="curves") for folder in ("whole", "cut")]
    one, other = (table[table["method"] == "dense"].reset_index() for table in tables)
    assert list(one["epoch"]) == list(other["epoch"]) == [1, 2, 3]
    for name in ("step", "test_loss", "test_accuracy"):
        assert list(one[name]) == list(other[name])
    # The last stretch began within the third epoch, and does not know the mean over all of it.
    assert list(one["train_loss"][:2]) == list(other["train_loss"][:2])
    assert one["train_loss"].notna().all()
    assert pd.isna(other["train_loss"][2])
    final = results(tmp_path / "whole").iloc[0]
    assert (final["test_accuracy"], final["test_loss"]) == (one["test_accuracy"][2], one["test_loss"][2])
    assert final["engine"] == "dense"
    assert (tables[1]["method"] == "snip").sum() == 2 * 3


def test_a_study_without_curves_has_the_same_jobs_and_numbers(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    fields = {"methods": ["snip"], "benchmarks": [], "ablations": ["shuffle"], "recipe": {"epochs": 2}}
    with_curves, without = tiny(**fields), tiny(**fields, curves=False)
    assert [job.key for job in plan(with_curves).jobs] == [job.key for job in plan(without).jobs]
    run(with_curves, out=tmp_path / "with", executor=inline)
    run(without, out=tmp_path / "without", executor=inline)
    tables = [results(tmp_path / folder).drop(columns=["train_seconds", "last_gain"]) for folder in ("with", "without")]
    pd.testing.assert_frame_equal(*tables)
    assert len(results(tmp_path / "with", what="curves")) == 3 * 2
    assert len(results(tmp_path / "without", what="curves")) == 0
    # What is finished is not run again for its curve alone.
    again = run(with_curves, out=tmp_path / "without", executor=inline)
    assert again.done == 0


def test_results_of_an_unfinished_study_have_the_same_columns(tiny: Tiny, tmp_path: Path) -> None:
    with Store.writing(tmp_path) as store:
        store.begin(plan(tiny()))
        assert list(store.results().columns) == BRIEF
        assert len(store.results()) == 0
        assert store.results().dtypes.equals(store.results("tiny").dtypes)


def test_seconds_of_dense_training_are_those_of_its_whole_chain(tiny: Tiny, tmp_path: Path) -> None:
    filled(tmp_path, tiny(prune_at=["0ep", "5it"]))
    seconds = results(tmp_path).groupby("method")["train_seconds"].unique()
    assert list(seconds["dense"]) == [8.0]  # steps 0, 3, 5 and 11
    assert list(seconds["snip"]) == [2.0]


def test_a_failed_job_is_a_row_without_numbers(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    last = job_plan.jobs[-1]
    with Store.writing(tmp_path) as store:
        store.record(last, Outcome(status="failed", error="ValueError: no\ntraceback", device="cpu"))
        assert store.finished()[last.key] == "failed"
        assert store.failures([last.key, job_plan.jobs[0].key]) == {last.key: "ValueError: no\ntraceback"}
    row = results(tmp_path).set_index("job_key").loc[last.key]
    assert row["status"] == "failed"
    assert row[["test_accuracy", "test_loss", "train_seconds", "density"]].isna().all()


def test_numbers_that_json_lacks_are_nan(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    with Store.writing(tmp_path) as store:
        diverged = Outcome(status="diverged", result={"test_accuracy": 0.1, "test_loss": float("nan")})
        store.record(job_plan.jobs[-1], diverged)
    row = results(tmp_path).set_index("job_key").loc[job_plan.jobs[-1].key]
    assert row["status"] == "diverged"
    assert row["test_accuracy"] == 0.1
    assert pd.isna(row["test_loss"])


def test_details_are_everything_recorded(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    job = job_plan.jobs[-1]
    with Store.reading(tmp_path) as store:
        details = store.details(job.key)
        assert (details["kind"], details["spec"], details["inputs"]) == (job.kind, job.spec, job.inputs)
        assert details["result"]["density"] == 0.25
        with pytest.raises(ValueError, match="holds no job nonsense"):
            store.details("nonsense")


def test_several_studies_share_a_folder(tiny: Tiny, tmp_path: Path) -> None:
    filled(tmp_path, tiny())
    filled(tmp_path, tiny(name="second", margin=1.0))
    assert len(results(tmp_path)) == 2 * len(results(tmp_path, study="tiny"))
    with Store.reading(tmp_path) as store:
        assert list(store.studies()) == ["tiny", "second"]
        assert Study(**store.studies()["second"]) == tiny(name="second", margin=1.0)
    with pytest.raises(ValueError, match='unknown study "tiney"; known: second, tiny; did you mean "tiny"'):
        results(tmp_path, study="tiney")


def test_a_changed_study_replaces_its_rows_and_keeps_its_jobs(tiny: Tiny, tmp_path: Path) -> None:
    first = filled(tmp_path, tiny())
    fewer = plan(tiny(methods=["snip"]))
    with Store.writing(tmp_path) as store:
        store.begin(fewer)
        assert store.finished().keys() == {job.key for job in first.jobs}
    assert len(results(tmp_path)) == len(fewer.trials)
    with Store.writing(tmp_path) as store:
        store.begin(first)
        assert list(store.studies()) == ["tiny"]
    assert len(results(tmp_path)) == len(first.trials)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_export_writes_what_results_are(tiny: Tiny, tmp_path: Path, form: str) -> None:
    filled(tmp_path, tiny())
    empty = ["effective_density", "unscored", "last_gain", "initial_overlap"]
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = export(tmp_path, format=form)  # pyright: ignore[reportArgumentType]
    assert path == tmp_path / f"results.{form}"
    match form:
        case "csv":
            unknown = {name: [""] for name in empty}
            texts = {"torch_version": str, "code_version": str, "processor": str}
            table = pd.read_csv(path, keep_default_na=False, na_values=unknown, dtype=texts)
        case "json":
            table = pd.DataFrame(json.loads(path.read_text())).astype(dict.fromkeys(empty, float))
        case _:
            table = pd.read_parquet(path)
    pd.testing.assert_frame_equal(table, results(tmp_path), check_dtype=False)


def test_export_refuses_clearly(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, tiny())
    with pytest.raises(ValueError, match='unknown format "xml"; known: csv, json, latex, parquet'):
        export(tmp_path, format="xml")  # pyright: ignore[reportArgumentType]
    with pytest.raises(StoreError, match=r"cannot write .*none"):
        export(tmp_path, to=tmp_path / "none" / "x.csv")

    def lacking(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", lacking)
    with pytest.raises(StoreError, match="parquet needs pyarrow"):
        export(tmp_path, format="parquet")


def test_readers_read_while_a_writer_writes(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = plan(tiny())
    with Store.writing(tmp_path) as store:
        store.begin(job_plan)
        for job in job_plan.jobs:
            store.record(job, outcome(test_accuracy=0.5))
            if job.kind == "train":
                break
        assert len(results(tmp_path)) == 2
        with Store.reading(tmp_path) as reader:
            assert len(reader.results()) == 2
            store.record(job_plan.jobs[-1], outcome())
            assert len(reader.results()) == 3


def test_a_store_at_rest_is_one_plain_file(tiny: Tiny, tmp_path: Path) -> None:
    filled(tmp_path, tiny())
    assert {path.name for path in tmp_path.iterdir()} == {"artifacts", "journal.jsonl", "study.sqlite", "writer.lock"}


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    with Store.writing(tmp_path):
        message = rf"is being written by process {os.getpid()} on \S+ \(since \d{{4}}-.* UTC\)"
        with pytest.raises(StoreError, match=message), Store.writing(tmp_path):
            pass
        code = "import sys; from prunemark.study.store import Store\nwith Store.writing(sys.argv[1]): pass"
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert other.returncode == 1
        assert f"is being written by process {os.getpid()}" in other.stderr
    with Store.writing(tmp_path):
        pass


def test_a_deleted_lock_file_lets_no_second_writer_in(tmp_path: Path) -> None:
    with Store.writing(tmp_path):
        (tmp_path / "writer.lock").unlink()
        message = rf"process {os.getpid()} .*though its writer.lock was deleted"
        with pytest.raises(StoreError, match=message), Store.writing(tmp_path):
            pass


def test_a_writer_whose_journal_was_taken_away_stops(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = plan(tiny())
    with Store.writing(tmp_path) as store:
        store.begin(job_plan)
        (tmp_path / "journal.jsonl").unlink()
        with pytest.raises(StoreError, match=r"journal.jsonl was removed or replaced"):
            store.record(job_plan.jobs[0], outcome())
    filled(tmp_path, tiny())


def test_a_killed_writer_leaves_the_folder_free_and_whole(tiny: Tiny, tmp_path: Path) -> None:
    filled(tmp_path, tiny())
    code = (
        "import os, signal, sys; from prunemark.study.store import Store\n"
        "with Store.writing(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    with Store.writing(tmp_path) as store:
        assert len(store.results()) == 11


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"cannot write to .*file"), Store.writing(tmp_path / name):
        pass


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no results of prunemark: there is no .*study.sqlite"):
        results(tmp_path)
    with pytest.raises(StoreError, match="there is no such folder"):
        results(tmp_path / "none")
    assert not Store.is_in(tmp_path)


def test_a_damaged_database_is_named(tiny: Tiny, tmp_path: Path) -> None:
    filled(tmp_path, tiny())
    file = tmp_path / "study.sqlite"
    whole = file.read_bytes()
    half = len(whole) // 2
    for content in (
        b"not a database, but long enough to be taken for one" * 40,
        whole[:half],
        whole[:4096] + bytes(half),
    ):
        file.write_bytes(content)
        with pytest.raises(StoreError, match=r"study.sqlite is damaged.*prunemark verify \S+ --repair"):
            results(tmp_path)


def test_a_database_of_another_program_or_a_newer_version_is_left_alone(tiny: Tiny, tmp_path: Path) -> None:
    filled(tmp_path, tiny())
    connection = sqlite3.connect(tmp_path / "study.sqlite")
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"written by a newer prunemark \(schema 99, this one reads 2\)"):
        results(tmp_path)
    connection.execute("PRAGMA application_id = 7")
    connection.close()
    with pytest.raises(StoreError, match="is a database, but not one of prunemark"):
        results(tmp_path)


def test_facts_on_which_all_jobs_rest(tmp_path: Path) -> None:
    with Store.writing(tmp_path) as store:
        store.require_fact("data", "abc", "the data have changed")
        store.require_fact("data", "abc", "the data have changed")
        with pytest.raises(StoreError, match=r"the data have changed: .* was begun with abc, now it is xyz"):
            store.require_fact("data", "xyz", "the data have changed")


def test_what_killed_workers_were_writing_is_removed(tiny: Tiny, tmp_path: Path) -> None:
    job_plan = filled(tmp_path, tiny())
    done, kept = job_plan.jobs[0].key, "f" * 64
    for name in ("a.safetensors", ".b.safetensors.123", f"{done}.part.safetensors", f"{kept}.part.safetensors"):
        (tmp_path / "artifacts" / name).write_text("half")
    with Store.writing(tmp_path) as store:
        # What a job has written down of itself is kept until it has finished.
        names = {path.name for path in store.artifacts.iterdir()}
        assert names == {"a.safetensors", f"{kept}.part.safetensors"}
        assert store.has_artifact("a")
        assert not store.has_artifact("b")

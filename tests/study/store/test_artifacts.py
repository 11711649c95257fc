"""What is stored is what was computed: artifacts that were harmed after they were written."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from torch import Tensor

from prunemark.artifacts import Place, Written, digest_of
from prunemark.study import jobs
from prunemark.study.exports import results
from prunemark.study.plan import plan
from prunemark.study.progress import Event, Noted
from prunemark.study.restoring import TRIES
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from tests.study.inline import InlineExecutor

Tiny = Callable[..., Study]


def _flip(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[-3] ^= 0x40
    file.write_bytes(whole)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _delete(file: Path) -> None:
    file.unlink()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    return {}


@pytest.mark.parametrize("harm", [_flip, _cut, _empty, _delete])
def test_a_harmed_artifact_is_made_again_in_the_same_run(
    tiny: Tiny,
    tmp_path: Path,
    inline: str,
    harm: Callable[[Path], None],
    undisturbed: dict[str, pd.DataFrame],
) -> None:
    few, more = tiny(ablations=["shuffle"]), tiny(ablations=["shuffle", "reinit"], sparsities=[0.9, 0.95])
    if not undisturbed:
        run(more, out=tmp_path / "whole", executor=inline)
        undisturbed["whole"] = results(tmp_path / "whole")
    folder = tmp_path / "harmed"
    run(few, out=folder, executor=inline)
    with Store.reading(folder) as store:
        before = {path.stem: digest_of(path) for path in store.artifacts.iterdir()}
        assert store.digests(before) == before
    # Each kind of artifact: the new jobs read the dense network, scores and masks.
    for path in (folder / "artifacts").iterdir():
        harm(path)
    events: list[Event] = []
    InlineExecutor.executed.clear()
    summary = run(more, out=folder, executor=inline, workers=2, progress=events.append)
    assert summary.failed == 0
    new = {job.key for job in plan(more).jobs} - {job.key for job in plan(few).jobs}
    again = set(InlineExecutor.executed) - new
    assert again
    if harm is _flip:
        assert len(summary.notes) == len(again), "each is named"
        assert all("not the" in note and "done again" in note for note in summary.notes)
        assert [event.text for event in events if isinstance(event, Noted)] == list(summary.notes)
        assert all(note in (folder / "workers.log").read_text() for note in summary.notes)
    assert {key: digest_of(folder / "artifacts" / f"{key}.safetensors") for key in again} == {
        key: before[key] for key in again
    }
    pd.testing.assert_frame_equal(
        results(folder).drop(columns="train_seconds"), undisturbed["whole"].drop(columns="train_seconds")
    )
    assert summary.done >= len(new) + len(again)


@pytest.mark.parametrize("harm", [_flip, _cut, _delete])
def test_an_artifact_that_is_made_again_and_differs_is_said(
    harm: Callable[[Path], None], tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"methods": ["snip"], "benchmarks": [], "ablations": []}
    run(tiny(**fields), out=tmp_path, executor=inline)
    (scores,) = (job.key for job in plan(tiny(**fields)).jobs if job.kind == "score")
    harm(tmp_path / "artifacts" / f"{scores}.safetensors")
    save = jobs._save_scores  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(
        jobs, "_save_scores", lambda scores, place: save({name: 2 * each for name, each in scores.items()}, place)
    )
    summary = run(tiny(**fields, sparsities=[0.9, 0.95]), out=tmp_path, executor=inline)
    assert summary.failed == 0
    # Only what has its size is found out when it is read, and said then.
    assert len(summary.notes) == (2 if harm is _flip else 1)
    assert f"{scores}.safetensors was made again and differs from the first" in summary.notes[-1]


def test_an_artifact_that_is_damaged_each_time_is_given_up(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(scores: Mapping[str, Tensor], place: Place) -> Written:
        written = real(scores, place)
        _flip(Path(place))
        return written

    real = jobs._save_scores  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(jobs, "_save_scores", save)
    summary = run(tiny(methods=["snip"], benchmarks=[], ablations=[]), out=tmp_path, executor=inline)
    assert len(summary.notes) == TRIES
    assert summary.failed == 2, "the mask, and the training that needs it"
    assert "is not the scores file that was written" in summary.failures[0][1]


def test_artifacts_that_have_no_digest_are_read_as_they_are(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    run(tiny(), out=tmp_path, executor=inline)
    with Store.writing(tmp_path) as store:
        store.connection.execute("UPDATE jobs SET digest = '', size = 0")
        store.connection.commit()
        assert store.digests(store.finished()) == {}
        assert all(store.has_artifact(path.stem) for path in store.artifacts.iterdir())

"""Studies whose number of replicates is decided by their results, from the first look to the last."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from prunemark.stats import Subject
from prunemark.study.exports import export, results
from prunemark.study.job import Context, Job, Outcome
from prunemark.study.jobs import execute
from prunemark.study.judging import judge, judge_study
from prunemark.study.lock import StoreError
from prunemark.study.plan import plan
from prunemark.study.progress import Advanced, Event, Looked, Planned
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from prunemark.terms.looks import Looks
from tests.study.inline import InlineExecutor

Tiny = Callable[..., Study]
SIZES = (3, 5, 8)


@pytest.fixture
def small(tiny: Tiny) -> Callable[..., Study]:
    """small(field=value, ...): two trainings per replicate and the dense one, looks at 3, 5 and 8."""
    few = {"methods": ["snip"], "benchmarks": [], "ablations": ["shuffle"], "replicates": {"min": 3, "max": 8}}
    return lambda **changes: tiny(**(few | changes))


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """settle(n): everything is settled once there are n replicates, whatever the numbers are."""

    def at(enough: int) -> None:
        def settled_of(subject: Subject, what: str) -> tuple[int, int]:
            count = max((finding.effect.replicates for finding in subject.findings if finding.effect), default=0)
            return (4, 4) if count >= enough else (1, 4)

        monkeypatch.setattr(Subject, "settled_of", settled_of)

    return at


def numbers(folder: Path) -> pd.DataFrame:
    """The results without what may differ from run to run, or says how many replicates were asked for."""
    return results(folder).drop(columns=["train_seconds", "looks"])


@pytest.mark.parametrize("size", SIZES)
def test_it_stops_at_the_look_at_which_everything_is_settled(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None], size: int
) -> None:
    settle(size)
    events: list[Event] = []
    summary = run(small(), out=tmp_path, executor=inline, progress=events.append)
    whole = plan(small())
    up_to = plan(small(), size)
    assert (summary.done, summary.failed, summary.skipped, summary.left) == (len(up_to.jobs), 0, 0, 0)
    assert sorted(InlineExecutor.executed) == sorted(job.key for job in up_to.jobs), "each job once, and no other"
    assert sum(isinstance(event, Planned) for event in events) == 1
    looked = [event for event in events if isinstance(event, Looked)]
    assert [one.stopping.replicates for one in looked] == list(SIZES[: SIZES.index(size) + 1])
    assert [one.stopping.stops for one in looked] == [False] * (len(looked) - 1) + [True]
    last = [event for event in events if isinstance(event, Advanced)][-1]
    assert last.jobs_done == last.jobs_total == len(up_to.jobs)
    assert last.seconds_left == pytest.approx(0, abs=1e-6)

    judged = judge_study(tmp_path)
    assert judged.planned == len(judged.results) == len(up_to.trials), "what no look asked for is not missing"
    assert judged.stopping is not None
    run_trainings = sum(job.kind == "train" for job in up_to.jobs) + size
    all_trainings = sum(job.kind == "train" for job in whole.jobs) + SIZES[-1]
    assert (judged.stopping.trainings, judged.stopping.saved) == (run_trainings, all_trainings - run_trainings)
    (subject,) = judged.subjects
    assert subject.sampling == judged.stopping.words
    assert judged.stopping.words in judged.facts["Replicates"]
    assert subject.standard.looks == Looks(min=3, max=8)
    assert {f.effect.look for f in subject.findings if f.effect} == {SIZES.index(size) + 1}

    InlineExecutor.executed.clear()
    again = run(small(), out=tmp_path, executor=inline)
    assert (again.done, again.skipped, InlineExecutor.executed) == (0, len(up_to.jobs), [])
    assert len(results(tmp_path)) == len(up_to.trials)


class Stop:
    """Progress that presses Ctrl-C when the n-th event of a type is told."""

    def __init__(self, kind: type[Event], count: int) -> None:
        self.kind, self.left = kind, count

    def __call__(self, event: Event) -> None:
        self.left -= isinstance(event, self.kind)
        if not self.left:
            raise KeyboardInterrupt


def test_neither_workers_nor_interruptions_change_where_it_stops(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None]
) -> None:
    settle(5)
    run(small(), out=tmp_path / "one", executor=inline, workers=1)
    run(small(), out=tmp_path / "three", executor=inline, workers=3)
    run(small(), out=tmp_path / "processes", workers=2)
    fixed = small(replicates=5)
    run(fixed, out=tmp_path / "fixed", executor=inline)
    # Within the first look, just after it was judged, and within the second; then to the end.
    stopped = tmp_path / "stopped"
    for stop, replicates in ((Stop(Advanced, 4), 3), (Stop(Looked, 1), 5), (Stop(Advanced, 2), 5)):
        assert run(small(), out=stopped, executor=inline, workers=2, progress=stop).interrupted
        with Store.reading(stopped) as store:
            assert store.replicates("tiny") == replicates
    halfway = judge_study(stopped)
    assert halfway.subjects[0].sampling == "look 2 of 3 is not complete"
    assert {f.effect.look for f in halfway.subjects[0].findings if f.effect} == {1}, "the look that is complete"
    run(small(), out=stopped, executor=inline)
    expected = numbers(tmp_path / "one")
    assert len(expected) == len(plan(small(), 5).trials)
    for other in ("three", "processes", "fixed", "stopped"):
        pd.testing.assert_frame_equal(numbers(tmp_path / other), expected, check_exact=True)


def test_a_kill_before_the_next_look_has_begun_leads_to_the_same_look(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(5)

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("prunemark.study.run.judge_stored", killed)
        with pytest.raises(SystemExit):
            run(small(), out=tmp_path, executor=inline)
    assert len(results(tmp_path)) == len(plan(small(), 3).trials)
    summary = run(small(), out=tmp_path, executor=inline)
    assert summary.done == len(plan(small(), 5).jobs) - len(plan(small(), 3).jobs)
    assert summary.skipped == len(plan(small(), 3).jobs)


def test_an_extended_study_goes_on_from_the_look_that_it_had_reached(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None]
) -> None:
    settle(5)
    run(small(), out=tmp_path, executor=inline)
    settle(3)
    more = small(sparsities=[0.9, 0.5])
    run(more, out=tmp_path, executor=inline)
    assert len(results(tmp_path)) == len(plan(more, 5).trials), "what was run is not dropped"


def test_other_looks_are_refused_before_anything_runs(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None]
) -> None:
    settle(3)
    run(small(), out=tmp_path, executor=inline)
    before = numbers(tmp_path)
    InlineExecutor.executed.clear()
    for replicates in ({"min": 3, "max": 20}, 5):
        for dry_run in (False, True):
            with pytest.raises(StoreError, match="holds tiny with 3 to 8 replicates, looks at 3, 5, 8, on which its"):
                run(small(replicates=replicates), out=tmp_path, executor=inline, dry_run=dry_run)
    assert InlineExecutor.executed == []
    pd.testing.assert_frame_equal(numbers(tmp_path), before, check_exact=True)


def test_a_dry_run_tells_the_time_to_the_next_look_and_at_most(small: Tiny, tmp_path: Path) -> None:
    events: list[Event] = []
    summary = run(small(), out=tmp_path / "none", dry_run=True, progress=events.append)
    (planned,) = events
    assert isinstance(planned, Planned)
    assert summary.left == planned.jobs == len(plan(small(), 3).jobs)
    assert planned.most_seconds > planned.seconds
    text = planned.describe()
    assert "3 to 8 replicates, looks at 3, 5, 8" in text
    assert " to the next look, " in text
    assert not (tmp_path / "none").exists()


def test_a_table_says_what_its_folder_says(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None]
) -> None:
    settle(5)
    study = small(margin=2.0, methods=[{"name": "snip", "label": "mine"}, "random"], recipe={"epochs": 2})
    run(study, out=tmp_path, executor=inline)
    judged = judge(tmp_path)
    readers = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}
    tables = {name: reader(export(tmp_path, format=name)) for name, reader in readers.items()}  # pyright: ignore[reportArgumentType]
    for name, table in ({"results": results(tmp_path)} | tables).items():
        again = judge(table)
        assert again.headline == judged.headline, name
        for ours, theirs in ((again.claims, judged.claims), (again.cells, judged.cells), (again.ranges, judged.ranges)):
            pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9)
        assert again.subjects[0].fitness == judged.subjects[0].fitness
        assert again.subjects[0].notes == judged.subjects[0].notes
    # Levels of a fixed number are less strict; a table that does not say how its number was decided says that.
    table = results(tmp_path)
    untold, fixed = judge(table.drop(columns="looks")), judge(table.assign(looks="fixed"))
    pd.testing.assert_frame_equal(untold.claims, fixed.claims)
    at_looks, at_once = judged.claims, fixed.claims
    assert ((at_looks["high"] - at_looks["low"]) > (at_once["high"] - at_once["low"]))[at_looks["replicates"] > 0].all()
    assert any("does not say how the number of replicates was decided" in note for note in untold.subjects[0].notes)
    assert not any("does not say" in note for note in (*fixed.subjects[0].notes, *judged.subjects[0].notes))
    pd.testing.assert_frame_equal(judge(table, margin=0.7).claims, judge(tmp_path, margin=0.7).claims)


def test_the_tables_of_two_studies_are_judged_each_by_its_own_terms(small: Tiny, tmp_path: Path, inline: str) -> None:
    run(small(replicates=3, margin=3.0, name="fixed"), out=tmp_path, executor=inline)
    run(small(replicates={"min": 3, "max": 3}), out=tmp_path, executor=inline)
    one, other = judge(results(tmp_path)).subjects
    assert [(each.study, each.standard.margin, each.standard.looks) for each in (one, other)] == [
        ("fixed", 3.0, None),
        ("tiny", 0.5, Looks(min=3, max=3)),
    ]


def test_a_number_that_gave_verdicts_becomes_looks_under_another_name_without_training_again(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None]
) -> None:
    settle(3)
    run(small(replicates=2), out=tmp_path, executor=inline)
    run(small(), out=tmp_path, executor=inline)  # Two replicates had no verdict: nothing was spent.
    assert len(set(InlineExecutor.executed)) == len(InlineExecutor.executed)
    run(small(replicates=3, name="fixed"), out=tmp_path, executor=inline)
    with pytest.raises(StoreError, match="give it another name, and nothing that is here is trained again"):
        run(small(name="fixed"), out=tmp_path, executor=inline)
    assert run(small(name="followed"), out=tmp_path, executor=inline).done == 0
    assert judge(tmp_path, study="followed").subjects[0].standard.looks == Looks(min=3, max=8)


def test_a_failed_job_is_not_tried_again_at_the_next_look(
    small: Tiny, tmp_path: Path, inline: str, settle: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(9)

    def fails(job: Job, context: Context) -> Outcome:
        return Outcome(status="failed", error="no score today") if job.kind == "score" else execute(job, context)

    monkeypatch.setattr("tests.study.inline.execute", fails)
    study = small(ablations=[], replicates={"min": 3, "max": 5})
    summary = run(study, out=tmp_path, executor=inline)
    # In each replicate the score, and with it a mask and a training.
    assert (len(summary.failures), summary.failed, summary.left) == (5, 15, 0)
    assert len(InlineExecutor.executed) == len(set(InlineExecutor.executed))
    InlineExecutor.executed.clear()
    run(study, out=tmp_path, executor=inline)
    assert len(InlineExecutor.executed) == 5, "the next run tries them"

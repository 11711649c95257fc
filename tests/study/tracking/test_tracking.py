"""What trackers are sent, when, and that what goes wrong with them touches no study."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from prunemark.study import tracking
from prunemark.study.exports import results
from prunemark.study.progress import Event, Noted
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.tracking import TRACKERS, TrackerEntry
from prunemark.study.tracking.record import Record

SMALL = {"methods": ["snip"], "benchmarks": [], "ablations": ["shuffle"]}


class Memory:
    """A tracker for tests; it fails at the record whose number `fails_at` says."""

    sent: ClassVar[list[Record]] = []
    fails_at: ClassVar[int | None] = None

    def __init__(self, target: str, folder: Path, study: str, /) -> None:
        if target == "nowhere":
            raise ConnectionError("no route to\nnowhere")

    def send(self, record: Record, /) -> None:
        if len(self.sent) == Memory.fails_at:
            raise OSError("gone")
        self.sent.append(record)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    entry = TrackerEntry(target=f"{__name__}:Memory", summary="for tests", library="json")
    monkeypatch.setitem(TRACKERS, "memory", entry)
    monkeypatch.setattr(Memory, "sent", [])
    monkeypatch.setattr(Memory, "fails_at", None)
    return Memory


def test_every_trial_is_sent_once_with_its_curve(
    tmp_path: Path, tiny: Callable[..., Study], inline: str, memory: type[Memory]
) -> None:
    run(tiny(**SMALL), out=tmp_path, executor=inline, workers=1, track="memory:here")
    table = results(tmp_path)
    assert {record.name for record in memory.sent} == {"dense r0", "snip 0.9 at 0ep r0", "snip shuffle 0.9 at 0ep r0"}
    assert [record.results["test_accuracy"] for record in memory.sent] == list(table["test_accuracy"])
    for record in memory.sent:
        ((epoch, measured),) = record.curve
        assert epoch == 1
        assert measured["test_accuracy"] == record.results["test_accuracy"]
        assert record.asked["network"] == "lenet-300-100"
    run(tiny(**SMALL), out=tmp_path, executor=inline, workers=1, track="memory:here")
    assert len(memory.sent) == 3
    # Of another target nothing is known, and a run with nothing left to do sends what was done before.
    run(tiny(**SMALL), out=tmp_path, executor=inline, workers=1, track="memory:there")
    assert len(memory.sent) == 6


@pytest.mark.parametrize(("track", "why"), [("memory", "OSError: gone"), ("memory:nowhere", "no route to nowhere")])
def test_a_tracker_that_fails_is_one_line(
    tmp_path: Path, tiny: Callable[..., Study], inline: str, memory: type[Memory], track: str, why: str
) -> None:
    Memory.fails_at = 1
    events: list[Event] = []
    summary = run(tiny(**SMALL), out=tmp_path, executor=inline, workers=1, track=track, progress=events.append)
    assert summary.failed == summary.left == 0
    (said,) = (event.text for event in events if isinstance(event, Noted))
    assert said.startswith(f"the tracker {track} failed, which changes nothing of the study: ")
    assert why in said
    Memory.fails_at = None
    run(tiny(**SMALL), out=tmp_path, executor=inline, workers=1, track="memory")
    assert len(memory.sent) == 3


def test_a_tracker_that_does_not_answer_does_not_hold_up_the_end(
    tmp_path: Path, tiny: Callable[..., Study], inline: str, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    released = threading.Event()
    monkeypatch.setattr(Memory, "send", lambda *_: released.wait(60))
    monkeypatch.setattr(tracking, "CLOSE_S", 0.1)
    with pytest.warns(RuntimeWarning, match=r"it has not taken everything after 0\.1 seconds"):
        run(tiny(**SMALL), out=tmp_path, executor=inline, workers=1, track="memory")
    released.set()
    assert set(results(tmp_path)["status"]) == {"done"}


def test_unknown_trackers_and_missing_libraries_are_refused_first(tmp_path: Path, tiny: Callable[..., Study]) -> None:
    with pytest.raises(ValueError, match=r'unknown tracker "tensorbord"; .*did you mean "tensorboard"'):
        run(tiny(), out=tmp_path / "out", track="tensorbord")
    entry = TrackerEntry(target="", summary="", library="not_installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRACKERS, "wandb", entry)
        with pytest.raises(ValueError, match=r"needs not_installed: pip install 'prunemark\[wandb\]'"):
            run(tiny(), out=tmp_path / "out", track="wandb:mine")
    assert not (tmp_path / "out").exists()

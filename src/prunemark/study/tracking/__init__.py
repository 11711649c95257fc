"""Trackers: where the curves and results of trials go while a study runs, beside its folder. No torch.

What is sent is read from the store, in a thread of its own, so that a tracker that fails, or does not answer, changes
nothing of the study: it is said once, in a line. A file in the folder says what was sent, so that it is not sent again.
"""

import contextlib
import importlib.util
import threading
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from prunemark.registry import Entry, find
from prunemark.study.progress import Advanced, Event, Noted, Progress
from prunemark.study.store import Store
from prunemark.study.tracking.record import MakeTracker, Tracker, records

_EVERY_S = 5.0
# Of its time, the thread spends at most a twentieth with reading the store.
_SPARING = 20
CLOSE_S = 120.0
"""Seconds that a tracker has for what is left to be sent when a run ends."""


@dataclass(frozen=True, kw_only=True)
class TrackerEntry(Entry):
    """A line of TRACKERS. `library` is the package that it imports, which is the name of the extra, too."""

    library: str


TRACKERS: dict[str, TrackerEntry] = {
    "mlflow": TrackerEntry(
        target="prunemark.study.tracking.mlflow:MLflowTracker",
        summary="MLflow; the target is a tracking URI, by default MLflow's own",
        library="mlflow",
    ),
    "tensorboard": TrackerEntry(
        target="prunemark.study.tracking.tensorboard:TensorBoardTracker",
        summary="TensorBoard; the target is a folder, by default DIR/tensorboard",
        library="tensorboard",
    ),
    "wandb": TrackerEntry(
        target="prunemark.study.tracking.wandb:WandbTracker",
        summary="Weights & Biases; the target is a project, by default prunemark",
        library="wandb",
    ),
}


def require_tracker(track: str) -> tuple[TrackerEntry, str]:
    """The line of TRACKERS and the target of "NAME" or "NAME:TARGET".

    Raises:
        ValueError: an unknown tracker, or one whose library is not installed.
    """
    name, _, target = track.partition(":")
    entry = find(TRACKERS, "tracker", name)
    if importlib.util.find_spec(entry.library) is None:
        raise ValueError(f"the tracker {name} needs {entry.library}: pip install 'prunemark[{name}]'")
    return entry, target


@contextlib.contextmanager
def tracked(progress: Progress | None, track: str | None, out: str | Path, study: str) -> Generator[Progress | None]:
    """A progress that sends the trials of a study to a tracker, too.

    Args:
        progress: told all that it is told without a tracker, and what went wrong with the tracker.
        track: "NAME" or "NAME:TARGET", a name of TRACKERS; None = no tracker.
        out: the folder of results.
        study: which study of the folder.

    Raises:
        ValueError: an unknown tracker, or one whose library is not installed.
    """
    if track is None:
        yield progress
        return
    entry, target = require_tracker(track)
    tracking = _Tracking(progress, track, entry.load(), target, Path(out), study)
    try:
        yield tracking
    finally:
        tracking.close()


class _Tracking:
    def __init__(
        self, progress: Progress | None, track: str, make: MakeTracker, target: str, folder: Path, study: str
    ) -> None:
        self._progress, self._track = progress, track
        self._make, self._target, self._folder, self._study = make, target, folder, study
        self._problem, self._said = "", False
        self._news, self._ends = threading.Event(), threading.Event()
        # It may hang, and must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=f"prunemark {track}", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Advanced):
            self._news.set()
        if self._progress:
            self._progress(event)
        self._say()

    def close(self) -> None:
        self._ends.set()
        self._news.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._problem = self._problem or f"it has not taken everything after {CLOSE_S:g} seconds"
        self._say()

    def _say(self) -> None:
        if not self._problem or self._said:
            return
        self._said = True
        text = f"the tracker {self._track} failed, which changes nothing of the study: {self._problem}"
        if self._progress:
            self._progress(Noted(text=text))
        else:
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _work(self) -> None:
        try:
            with contextlib.closing(self._make(self._target, self._folder, self._study)) as tracker:
                while not self._ends.is_set():
                    self._news.wait()
                    self._news.clear()
                    began = time.monotonic()
                    self._send(tracker)
                    self._ends.wait(max(_EVERY_S, _SPARING * (time.monotonic() - began)))
                self._send(tracker)
        except (Exception, SystemExit) as error:
            self._problem = " ".join(f"{type(error).__name__}: {error}".split())

    def _send(self, tracker: Tracker) -> None:
        """Send what has not been sent to this target yet."""
        if not Store.is_in(self._folder):
            return
        with Store.reading(self._folder) as store:
            if self._study not in store.studies():
                return
            found = records(store, self._study)
        place = self._folder / "tracked.txt"
        sent = set(place.read_text(encoding="utf-8").splitlines()) if place.exists() else set[str]()
        for record in found:
            line = f"{self._track} {self._study} {record.job_key} {record.name}"
            if line not in sent:
                tracker.send(record)
                with place.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")

"""Artifacts that are found to be of no use while a study runs: their jobs are done again in the same run. No torch."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from prunemark.study.job import Job, Outcome
from prunemark.study.plan import Plan
from prunemark.study.progress import Noted, Progress
from prunemark.study.schedule import Schedule, restoring
from prunemark.study.store import Store

TRIES = 3
"""How often one artifact is made again in a run, before what needs it fails: a disk may be broken."""


def note(store: Store, text: str, progress: Progress | None) -> None:
    """Say that something stored is damaged, to who listens and in the log."""
    store.note(text)
    if progress:
        progress(Noted(text=text))


class Restoring:
    """What a run knows of the artifacts that its jobs read.

    Attributes:
        plan: of the study that runs.
    """

    def __init__(self, store: Store, plan: Plan, progress: Progress | None) -> None:
        self.plan = plan
        self._store, self._progress = store, progress
        self._clock = itertools.count()
        self._handed_out: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._tries: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def handed_out(self, job: Job) -> Job:
        """The job as it goes to a worker: with the digests of the artifacts that it reads."""
        self._handed_out[job.key] = next(self._clock)
        # Of what was done before, and is done again because its artifact is gone.
        self._first |= self._store.digests([job.key])
        return replace(job, digests=self._store.digests(job.inputs.values()))

    def again(self, job: Job, unusable: Mapping[str, str], schedule: Schedule) -> list[Job] | None:
        """Do the jobs again whose artifacts are of no use, and then the one that found that out.

        Args:
            job: that one.
            unusable: key of a job whose artifact is of no use -> why.
            schedule: of the run.

        Returns:
            The jobs that were not to be done in this run before; None if one was made again in vain too often.
        """
        for key, reason in unusable.items():
            # Of two jobs that read it at the same time, one has said so already.
            if self._found.get(key, -1) > self._handed_out[job.key]:
                continue
            self._tries[key] += 1
            if self._tries[key] > TRIES:
                return None
            self._found[key] = next(self._clock)
            note(self._store, f"{reason}; it counts as not there, and its job is done again", self._progress)
            self._store.discard_artifact(key)
        gone = [key for key in unusable if not self._store.has_artifact(key)]
        return schedule.again(job, restoring(self.plan, gone, self._store.has_artifact))

    def made(self, job: Job, outcome: Outcome) -> None:
        """Say so where an artifact that was made again is not what it was."""
        first = self._first.pop(job.key, outcome.digest)
        if first != outcome.digest:
            text = (
                f"{self._store.artifact(job.key)} was made again and differs from the first, as on another device "
                "or version; results that rest on the first stay"
            )
            note(self._store, text, self._progress)

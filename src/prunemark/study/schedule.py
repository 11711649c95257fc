"""The jobs that are left to do, in order. No torch."""

import heapq
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from prunemark.study.job import Job, Status
from prunemark.study.plan import Plan


def pending(plan: Plan, finished: Mapping[str, Status], has_artifact: Callable[[str], bool]) -> list[Job]:
    """The jobs that a plan's trials still need, in the order of the plan.

    A job that failed is tried again. A finished job is done again only if a job to be done needs its artifact and
    that is gone.
    """
    jobs = {job.key: job for job in plan.jobs}
    done = {key for key, status in finished.items() if status != "failed"}
    needed: set[str] = set()
    stack = [trial.job_key for trial in plan.trials if trial.job_key not in done]
    while stack:
        key = stack.pop()
        if key not in needed:
            needed.add(key)
            stack += [other for other in jobs[key].inputs.values() if other not in done or not has_artifact(other)]
    return [job for job in plan.jobs if job.key in needed]


def restoring(plan: Plan, keys: Iterable[str], has_artifact: Callable[[str], bool]) -> list[Job]:
    """The jobs that make the artifacts of these jobs, and those of others that they need and that are gone."""
    jobs = {job.key: job for job in plan.jobs}
    needed: set[str] = set()
    stack = list(keys)
    while stack:
        key = stack.pop()
        if key not in needed:
            needed.add(key)
            stack += [other for other in jobs[key].inputs.values() if not has_artifact(other)]
    return [job for job in plan.jobs if job.key in needed]


def critical_paths(jobs: Iterable[Job]) -> dict[str, float]:
    """For each job the cost of the longest chain of jobs that begins with it; the jobs in topological order."""
    lengths: dict[str, float] = {}
    beyond: dict[str, float] = {}
    for job in reversed(list(jobs)):
        lengths[job.key] = job.cost + beyond.get(job.key, 0.0)
        for needed in job.inputs.values():
            beyond[needed] = max(beyond.get(needed, 0.0), lengths[job.key])
    return lengths


class Schedule:
    """Jobs that become ready as those they need finish; longest critical path first."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = {job.key: job for job in jobs}
        self._paths = critical_paths(self._jobs.values())
        self._order = {key: i for i, key in enumerate(self._jobs)}
        self._waits_for: dict[str, set[str]] = {}
        self._dependents: dict[str, list[str]] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._finished: set[str] = set()
        for job in self._jobs.values():
            # What is not among the jobs is there already.
            self._waits_for[job.key] = {key for key in job.inputs.values() if key in self._jobs}
            for key in self._waits_for[job.key]:
                self._dependents.setdefault(key, []).append(job.key)
            if not self._waits_for[job.key]:
                self._push(job.key)

    def next(self) -> Job | None:
        """The most urgent job that is ready, or None."""
        return self._jobs[heapq.heappop(self._ready)[2]] if self._ready else None

    def succeeded(self, job: Job) -> None:
        """Make ready what waited for this job alone."""
        self._finished.add(job.key)
        for key in self._dependents.get(job.key, ()):
            # What was done before this job was done again does not wait for it.
            if job.key in self._waits_for.get(key, ()):
                self._waits_for[key].discard(job.key)
                if not self._waits_for[key]:
                    self._push(key)

    def again(self, job: Job, needed: Iterable[Job]) -> list[Job]:
        """Do a job again, after others that it needs and that are to be done again too.

        Args:
            job: one that `next` gave.
            needed: jobs, in topological order, whose artifacts are gone; those that are under way already are left
                out.

        Returns:
            Those of `needed` that were not to be done before.
        """
        more = [each for each in needed if each.key not in self._jobs or each.key in self._finished]
        for each in more:
            self._finished.discard(each.key)
            self._jobs[each.key] = each
            self._order.setdefault(each.key, len(self._order))
            self._paths[each.key] = self._paths[job.key] + each.cost
        for each in (*more, job):
            self._waits_for[each.key] = {
                key for key in each.inputs.values() if key in self._jobs and key not in self._finished
            }
            for key in self._waits_for[each.key]:
                self._dependents.setdefault(key, []).append(each.key)
            if not self._waits_for[each.key]:
                self._push(each.key)
        return more

    def failed(self, job: Job) -> list[Job]:
        """Give up all that needs this job, directly or not; what was given up before is left out."""
        lost: dict[str, Job] = {}
        stack = list(self._dependents.get(job.key, ()))
        while stack:
            key = stack.pop()
            if self._waits_for.pop(key, None) is not None:
                lost[key] = self._jobs[key]
                stack += self._dependents.get(key, ())
        return sorted(lost.values(), key=lambda job: self._order[job.key])

    def _push(self, key: str) -> None:
        heapq.heappush(self._ready, (-self._paths[key], self._order[key], key))


class Expected:
    """Time that jobs are expected to take, from what those that have finished took.

    Args:
        step_seconds: measured time of a training step, for as long as nothing else is known.
    """

    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self._cost_left = self._spent_cost = self._spent_seconds = 0.0
        self._of_kind: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def plan(self, jobs: Sequence[Job]) -> None:
        """Take in jobs that are to be done."""
        self._cost_left += sum(job.cost for job in jobs)
        if not self._spent_cost:
            # What was measured before the run counts as a twentieth of it, so that the first jobs, which also load
            # what all others use, do not make the forecast jump.
            self._spent_cost = self._cost_left / 20
            self._spent_seconds = self._spent_cost * self._step_seconds

    def took(self, job: Job, seconds: float) -> None:
        """Take in how long a job took."""
        self._spent_cost += job.cost
        self._spent_seconds += seconds
        spent = self._of_kind[_kind(job)]
        spent[0] += seconds
        spent[1] += job.cost

    def settled(self, job: Job) -> None:
        """Take in that a job is over, however it ended."""
        self._cost_left -= job.cost

    def seconds(self, job: Job) -> float | None:
        """Time that a job is expected to take: that of the finished ones of its kind, by cost; None if none has."""
        seconds, cost = self._of_kind.get(_kind(job), (0.0, 0.0))
        return seconds / cost * job.cost if cost else None

    @property
    def seconds_left(self) -> float:
        """Time that all jobs that are left will take, one after the other."""
        pace = self._spent_seconds / self._spent_cost if self._spent_cost else 0.0
        return pace * self._cost_left


def _kind(job: Job) -> str:
    # Trainings of a study cost the same a step; methods do not cost the same a score.
    return f"{job.kind} {json.dumps(job.spec.get('method', ''), sort_keys=True)}"

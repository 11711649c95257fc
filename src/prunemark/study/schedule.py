"""The jobs that are left to do, in order. No torch."""

import heapq
from collections.abc import Callable, Iterable, Mapping

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

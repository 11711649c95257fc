"""Worker processes on the nodes of a Ray cluster.

Ray places, watches and ends one actor per slot; each runs a worker process as `LocalExecutor` does on one machine, so
that a job has the same surroundings, limits and end everywhere. Nothing of Ray's own retries is used: the driver alone
decides what is done again.
"""

import contextlib
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prunemark.datasets.files import given_folder
from prunemark.study.executors import ExecutorError, Finished
from prunemark.study.executors.answers import require_answer
from prunemark.study.executors.node_data import NodeData, put
from prunemark.study.executors.ray_worker import RayWorker, Reply, programs
from prunemark.study.job import Context, Job, Outcome, Underway
from prunemark.study.lock import who_writes

# How long an actor waits for its process before it says how far the job is.
_BEAT_S = 1.0
# Ray waits a minute for a head that is gone, and then ends this process without a word: it is asked before.
_HEAD_EVERY_S = 5.0
_HEAD_GONE_S = 20.0
_END_TIMEOUT_S = 5.0
# How often in turn the worker of each slot may end before it begins: no accident, then.
_FALSE_STARTS = 3
_MEMORY = re.compile("memory|OOM", re.IGNORECASE)


class RayExecutor:
    """One actor per slot. Those that the cluster has no room for wait, and their jobs with them."""

    def __init__(
        self, ray: Any, context: Context, workers: int, log: Path, *, cpus: float, gpus: float, head: str
    ) -> None:
        """Ask for the actors.

        Args:
            ray: the package, connected.
            context: surroundings of the jobs; its folders are those of every node.
            workers: number of slots.
            log: file in the shared folder for what workers print.
            cpus, gpus: what is set aside for each slot.
            head: address of the cluster's head, to ask whether it is there.
        """
        given = given_folder(context.data_dir)
        self._context = replace(context, devices=(), data_dir=None if given is None else str(given.absolute()))
        self._ray, self._log, self._slots, self._head = ray, log, workers, head
        self._actor = ray.remote(RayWorker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self._data: dict[str, NodeData | None] = {}
        self._queue: deque[Job] = deque()
        self._false_starts = 0
        self._asked = self._answered_at = time.monotonic()
        self._workers = [self._start() for _ in range(workers)]

    @property
    def slots(self) -> int:
        """Number of jobs that run at the same time."""
        return self._slots

    def submit(self, job: Job) -> None:
        """Give a job to an actor that has none, as soon as there is one."""
        self._queue.append(job)
        self._assign()

    def wait(self, timeout_s: float | None = None) -> Finished | None:
        """Wait until one of the jobs under way is finished, or its worker is gone; None after `timeout_s` seconds.

        Raises:
            ExecutorError: a node cannot work, or the cluster is gone.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._assign()
            left = _BEAT_S if until is None else min(_BEAT_S, max(0.0, until - time.monotonic()))
            calls = {worker.call: worker for worker in self._workers if worker.call is not None}
            done = self._answered(list(calls), left)
            for call in done:
                if finished := self._hear(calls[call]):
                    return finished
            if time.monotonic() - self._asked > _HEAD_EVERY_S:
                self._require_head(patience_s=_HEAD_GONE_S)
            if until is not None and time.monotonic() >= until:
                return None

    def underway(self) -> Sequence[Underway]:
        """The jobs submitted, and how far each has said it is."""
        at_work = [worker.underway(worker.job) for worker in self._workers if worker.job is not None]
        return [*at_work, *(Underway(job=job) for job in self._queue)]

    def cancel(self, job: Job) -> None:
        """End the process that has a job; an actor that does not answer goes with it."""
        if job in self._queue:
            self._queue.remove(job)
            return
        worker = next(worker for worker in self._workers if worker.job == job)
        try:
            self._ray.get(worker.actor.cancel.remote(), timeout=_BEAT_S + _END_TIMEOUT_S)
        except Exception:
            self._replace(worker)
        else:
            worker.job = worker.call = None

    def close(self) -> None:
        """End all workers, whatever they do."""
        with contextlib.suppress(Exception):
            calls = [worker.actor.close.remote() for worker in self._workers if worker.ready]
            if calls:
                self._ray.wait(calls, num_returns=len(calls), timeout=_BEAT_S + _END_TIMEOUT_S)
        for worker in self._workers:
            self._kill(worker)
        self._workers.clear()
        self._queue.clear()

    def _answered(self, calls: list[Any], timeout_s: float) -> list[Any]:
        """Those of some calls that have an answer; waits for the first."""
        if not calls:
            time.sleep(timeout_s)
            return []
        try:
            return self._ray.wait(calls, num_returns=1, timeout=timeout_s)[0]
        except Exception as error:
            raise _no_head(_line(error)) from error

    def _assign(self) -> None:
        """Give jobs to actors that are ready and have none."""
        for worker in self._workers:
            if not self._queue:
                return
            if worker.ready and worker.job is None:
                job = self._queue.popleft()
                worker.give(job, self._data_of(job))

    def _data_of(self, job: Job) -> NodeData | None:
        name: str = job.data or job.spec["dataset"]
        if name not in self._data:
            self._data[name] = put(name, self._context.data_dir, self._ray.put)
        return self._data[name]

    def _hear(self, worker: "_Worker") -> Finished | None:
        """What an actor answered: perhaps that its job is finished, or that it is itself gone."""
        try:
            reply: Reply = self._ray.get(worker.call)
        except Exception as error:
            return self._gone(worker, _line(error))
        if "broken" in reply:
            raise ExecutorError(reply["broken"])
        if not worker.ready:
            worker.ready, worker.call, self._false_starts = True, None, 0
            worker.host = reply["host"]
            return None
        job = worker.job
        assert job is not None
        if "underway" in reply:
            worker.said, worker.heard = reply["underway"], time.monotonic()
            worker.call = worker.actor.work.remote(None, None, _BEAT_S)
            return None
        worker.job = worker.call = None
        if "lost" in reply:
            return Finished(job=job, lost=f"{reply['lost']}; see {self._log}")
        return Finished(job=job, outcome=Outcome.from_dict(reply["outcome"]))

    def _gone(self, worker: "_Worker", reason: str) -> Finished | None:
        """Put another actor in place of one that is gone; its job, if it had one.

        An actor starts processes and does nothing itself: it goes with its node, unless Ray ends it because memory is
        short.
        """
        self._require_head()
        self._replace(worker)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts == _FALSE_STARTS * self._slots:
                raise ExecutorError(f"workers end before they begin: {reason}")
        if worker.job is None:
            return None
        lost = f"the worker on node {worker.host} is gone: {reason}"
        return Finished(job=worker.job, lost=lost, machine_lost=_MEMORY.search(reason) is None)

    def _require_head(self, patience_s: float = 0.0) -> None:
        """Check that the head of the cluster answers, or did so a short while ago."""
        self._asked = time.monotonic()
        try:
            if self._head:
                require_answer(self._head)
        except ExecutorError as error:
            if time.monotonic() - self._answered_at >= patience_s:
                raise _no_head(str(error)) from error
        else:
            self._answered_at = time.monotonic()

    def _start(self) -> "_Worker":
        actor = self._actor.remote(asdict(self._context), str(self._log), self._ray.get)
        return _Worker(actor, actor.begin.remote(programs(self._context.engine), who_writes(self._log.parent)))

    def _replace(self, worker: "_Worker") -> None:
        self._kill(worker)
        self._workers[self._workers.index(worker)] = self._start()

    def _kill(self, worker: "_Worker") -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(worker.actor)


class _Worker:
    """One actor, the job that it has, and the call that it has not answered yet."""

    def __init__(self, actor: Any, call: Any) -> None:
        self.actor, self.call = actor, call
        self.ready = False
        self.host = ""
        self.job: Job | None = None
        self.said: Reply = {}
        self.heard = 0.0

    def give(self, job: Job, data: NodeData | None) -> None:
        self.job, self.said = job, {}
        self.call = self.actor.work.remote(job.to_dict(), data, _BEAT_S)

    def underway(self, job: Job) -> Underway:
        seconds = self.said.get("seconds", 0.0)
        if seconds:
            # Its own clock's, and since then ours: a node that has fallen silent is not forgotten.
            seconds += time.monotonic() - self.heard
        return Underway(job=job, **(self.said | {"seconds": seconds}))


def _no_head(reason: str) -> ExecutorError:
    return ExecutorError(f"the Ray cluster is gone: {reason}; what was stored is whole, run again when it is back")


def _line(error: Exception) -> str:
    """An error of Ray's, which has many lines, in one."""
    return " ".join(str(error).split())[:300] or type(error).__name__

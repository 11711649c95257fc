"""A job that runs code of others has a process of its own: whatever that code does to its process ends with the job.

Code of others is a user's own, and that of packages which add methods, networks or data sets.

Default dtype, threads, flags, environment, patched functions: none of it can be listed in full, and so none of it is
put back. Where a process can be forked it comes off a worker, which has never run code of a user's, in a hundredth of
a second; elsewhere it is a fresh interpreter.
"""

import contextlib
import os
import queue
import time
from dataclasses import asdict
from typing import Any

from prunemark.study.executors.fork import can_fork, forked
from prunemark.study.executors.pipes import Child, Message, ended
from prunemark.study.job import Context, Job, Outcome
from prunemark.study.jobs import execute
from prunemark.study.materials import make_data


def execute_apart(job: Job, context: Context) -> Outcome:
    """Do one job in a process of its own.

    If that dies of a signal so does this one, and the driver sees to both alike.
    """
    began = time.perf_counter()
    if can_fork(context.device):
        # Read once, for all jobs to share. If that fails it fails in the job, and is explained there.
        with contextlib.suppress(Exception):
            make_data(job.spec["dataset"], context.data_dir)
        answer, code = forked(lambda: execute(job, context).to_dict())
    else:
        answer, code = _fresh(job, context)
    if answer is not None:
        return Outcome.from_dict(answer)
    if code < 0:
        os.kill(os.getpid(), -code)
    reason = f"the process of this job, which runs {job.foreign[0]}, {ended(code)} before the job was done"
    return Outcome(status="failed", error=reason, seconds=time.perf_counter() - began, device=context.device)


def _fresh(job: Job, context: Context) -> tuple[Message | None, int]:
    heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    process = Child("prunemark.study.executors.worker", heard.put, arguments=("--once",))
    process.tell(asdict(context))
    process.tell(job.to_dict())
    found: dict[str, Any] = {}
    while (message := heard.get()) is not None:
        found |= message
        if "outcome" in message:
            process.dismiss()
    return found.get("outcome"), process.buried()

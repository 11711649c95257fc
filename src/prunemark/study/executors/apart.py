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

from prunemark.own_code import is_own_code
from prunemark.study.executors.channel import Hear, Message, NoMessageError
from prunemark.study.executors.fork import can_fork, forked
from prunemark.study.executors.pipes import Child, ended
from prunemark.study.job import Context, Job, Outcome
from prunemark.study.jobs import execute
from prunemark.study.materials import data_of


def execute_apart(job: Job, context: Context, tell: Hear = lambda _: None) -> Outcome:
    """Do one job in a process of its own.

    If that dies of a signal so does this one, and the driver sees to both alike.

    Args:
        job: what to do.
        context: with what.
        tell: called with what there is to say while it is under way, see `prunemark.study.jobs.execute`.
    """
    began = time.perf_counter()
    try:
        if can_fork(context.device):
            # Read once, for all jobs to share. If that fails it fails in the job, and is explained there.
            with contextlib.suppress(Exception):
                if not is_own_code(job.data):
                    data_of(job, context.data_dir)
            answer, code = forked(lambda inner: execute(job, context, inner).to_dict(), tell)
        else:
            answer, code = _fresh(job, context, tell)
        how = "" if answer is not None else ended(code)
    except NoMessageError as error:
        answer, code, how = None, 0, f"sent what is no message ({error})"
    if answer is not None:
        return Outcome.from_dict(answer)
    if code < 0:
        os.kill(os.getpid(), -code)
    reason = f"the process of this job, which runs {job.foreign[0]}, {how} before the job was done"
    return Outcome(status="failed", error=reason, seconds=time.perf_counter() - began, device=context.device)


def _fresh(job: Job, context: Context, tell: Hear) -> tuple[Message | None, int]:
    heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    process = Child("prunemark.study.executors.worker", heard.put, arguments=("--once",))
    process.tell(asdict(context))
    process.tell(job.to_dict())
    found: dict[str, Any] = {}
    while (message := heard.get()) is not None:
        if "outcome" in message:
            found = message
            process.dismiss()
        elif not {"ready", "began"} & message.keys():
            tell(message)
    process.buried()
    return found.get("outcome"), process.code

"""The process of a worker: a job a line on standard input, an outcome a line on standard output."""

import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

from prunemark.study.job import Context, Job


def main() -> None:
    """Work until standard input ends, which it does when the driver is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What jobs print, a user's method included, must not get into the replies.
    os.dup2(2, 1)

    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    context = Context(**json.loads(requests.readline()))
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()

    from prunemark.study.jobs import execute, settle_process

    settle_process()
    _reply(replies, {"ready": os.getpid()})
    while True:
        job = Job.from_dict(json.loads(lines.get()))
        _reply(replies, {"outcome": execute(job, context).to_dict()})


def _read(requests: TextIO, lines: "queue.SimpleQueue[str]") -> None:
    for line in requests:
        lines.put(line)
    # Artifacts are written aside and moved into place, so a job may end anywhere.
    os._exit(0)


def _reply(replies: TextIO, message: dict[str, Any]) -> None:
    try:
        replies.write(json.dumps(message) + "\n")
        replies.flush()
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()

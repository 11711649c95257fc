"""Work done in a fork of this process, which ends with it: nothing that it does to its process is left behind."""

import ctypes
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from prunemark.study.executors.pipes import Message

_PR_SET_PDEATHSIG = 1


def can_fork(device: str) -> bool:
    """True if work for a device may be forked; accelerators, and libraries of other systems, do not survive it."""
    return sys.platform == "linux" and device == "cpu"


def forked(work: Callable[[], Message]) -> tuple[Message | None, int]:
    """Do some work in a fork of this process.

    Returns:
        The message that it came to, None if the fork ended before; the fork's exit code, or the negative of a signal.
    """
    results, replies = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Of threads there is one, which reads standard input and holds nothing that the fork uses.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(results)
        _work(work, replies, parent)
    os.close(replies)
    with os.fdopen(results, encoding="utf-8") as lines:
        answer = lines.readline()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (json.loads(answer) if answer.endswith("\n") else None), code


def _work(work: Callable[[], Message], replies: int, parent: int) -> NoReturn:
    try:
        # Killed when its parent dies, whatever it is doing then.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            text = json.dumps(work()) + "\n"
            with os.fdopen(replies, "w", encoding="utf-8") as file:
                file.write(text)
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        # Not sys.exit: exit handlers and threads of the parent are none of the fork's business.
        os._exit(0)

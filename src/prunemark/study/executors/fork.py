"""Work done in a fork of this process, which ends with it: nothing that it does to its process is left behind."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

from prunemark.study.executors.channel import Hear, Message, private, receive, send
from prunemark.study.executors.lifeline import die_with_parent


def can_fork(device: str) -> bool:
    """True if work for a device may be forked; accelerators, and libraries of other systems, do not survive it."""
    return sys.platform == "linux" and device == "cpu"


def forked(work: Callable[[Hear], Message], hear: Hear = lambda _: None) -> tuple[Message | None, int]:
    """Do some work in a fork of this process.

    Args:
        work: called with what sends messages while it is under way; what it returns is the last.
        hear: called with those messages.

    Returns:
        The message that it came to, None if the fork ended before; the fork's exit code, or the negative of a signal.

    Raises:
        NoMessageError: something else came from the fork than messages; it has been killed.
    """
    results, replies = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Of threads there is one, which reads the driver's orders and holds nothing that the fork uses.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(results)
        _work(work, replies, parent)
    os.close(replies)
    answers: list[Message] = []

    def sort(message: Message) -> None:
        if "answer" in message:
            answers.append(message["answer"])
        else:
            hear(message)

    try:
        receive(results, sort, pid=child)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(results)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (answers[-1] if answers else None), code


def _work(work: Callable[[Hear], Message], replies: int, parent: int) -> NoReturn:
    code = 1
    try:
        die_with_parent()
        replies = private(replies)
        if os.getppid() == parent:
            send(replies, {"answer": work(lambda message: send(replies, message))})
            code = 0
            sys.stdout.flush()
            sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: exit handlers and threads of the parent are none of the fork's business.
        os._exit(code)

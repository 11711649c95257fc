"""What ends a process with the one that started it, whatever either is doing."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have this process killed when its parent ends, even in the middle of a call that holds the interpreter's lock.

    Linux alone can do that; elsewhere a process sees its standard input end when it gets to it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_session(leader: int) -> None:
    """Kill all processes of a session, those that its leader started and left behind included.

    Args:
        leader: the process that began it; it may have ended, but must not have been reaped.
    """
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)

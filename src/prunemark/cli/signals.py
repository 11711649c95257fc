"""Signals that end a program, taken as Ctrl-C is: what is under way ends in order, and one sentence says so."""

import contextlib
import signal
from collections.abc import Generator
from types import FrameType


@contextlib.contextmanager
def taken_as_ctrl_c() -> Generator[list[int]]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt, as a queue that ends a job or a terminal that closes sends them.

    The first alone: a second SIGTERM ends the process at once. A signal that is ignored, as nohup has it, stays so.

    Yields:
        The signal that came; empty as long as none has.
    """
    received: list[int] = []
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [each for each in map(signal.Signals.__getitem__, names) if signal.getsignal(each) == signal.SIG_DFL]

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        for each in heeded:
            # A terminal that closes tells its programs twice: by the system and by the shell.
            signal.signal(each, signal.SIG_DFL if each == signal.SIGTERM else signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in heeded:
        signal.signal(each, stop)
    try:
        yield received
    finally:
        for each in heeded:
            signal.signal(each, signal.SIG_DFL)

"""A process that is told what to do, and answers, in messages over pipes."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from prunemark.study.executors.channel import Message, NoMessageError, private, receive, send
from prunemark.study.executors.lifeline import die_with_parent, kill_session

# Two threads in one process fight over a shared machine's cores: one thread in each, set before torch is loaded.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_END_TIMEOUT_S = 2.0


class Child:
    """A fresh interpreter that runs one of our modules; the side that tells it what to do.

    It imports nothing of the program that starts it, so that scripts and notebooks can start one as they are.
    """

    def __init__(
        self,
        module: str,
        hear: Callable[[Message | None], None],
        *,
        arguments: tuple[str, ...] = (),
        errors: IO[bytes] | None = None,
    ) -> None:
        """Start it.

        Args:
            module: what it runs.
            hear: called in a thread with each message, and with None when it has ended.
            arguments: of the command line.
            errors: where its standard error goes; None = where this process's goes.
        """
        self._hear = hear
        self._fault = ""
        their_orders, self._orders = os.pipe()
        self._replies, their_replies = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=their_orders,
                stdout=their_replies,
                stderr=errors,
                env={**os.environ, **_ONE_THREAD, **_same_modules()},
                # Out of the terminal's process group: Ctrl-C is for the driver alone.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._orders)
            os.close(self._replies)
            raise
        finally:
            os.close(their_orders)
            os.close(their_replies)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def tell(self, message: Message) -> None:
        """Send a message; one that has just ended is reported by its listener."""
        with contextlib.suppress(OSError):
            send(self._orders, message)

    def dismiss(self) -> None:
        """Close the pipe of its orders, on which it ends at once."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def kill(self) -> None:
        """Kill it and every process of its session."""
        if self._process.returncode is None:
            kill_session(self._process.pid)
            self._process.kill()

    def buried(self) -> str:
        """See the process end, kill it if it does not, free its pipes; how it ended, in words, as `ended` has them."""
        self.dismiss()
        self._listener.join(_END_TIMEOUT_S)
        if self._listener.is_alive():
            self.kill()
            self._listener.join()
        return self._fault or ended(self.code)

    @property
    def code(self) -> int:
        """Exit code of the process that was buried, or the negative of a signal."""
        assert self._process.returncode is not None
        return self._process.returncode

    def _listen(self) -> None:
        try:
            receive(self._replies, self._hear, pid=self._process.pid)
        except Exception as error:
            # Whatever it was, nothing more is heard of this process, and nobody must wait for it.
            told = isinstance(error, NoMessageError)
            self._fault = f"{'sent what is no message' if told else 'could not be heard'}, and was ended: {error}"
            self.kill()
        else:
            # What it started and left behind goes with it.
            kill_session(self._process.pid)
        self._process.wait()
        os.close(self._replies)
        self._hear(None)


class Orders:
    """The side of the process that is told what to do; it ends when nobody is there to tell it.

    What it prints, or a user's code in it, goes to standard error and not into the answers.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
        die_with_parent()
        self._requests, self._replies = private(os.dup(0)), private(os.dup(1))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Message:
        """The next message; waits for it."""
        return self._messages.get()

    def answer(self, message: Message) -> None:
        """Send a message back."""
        try:
            send(self._replies, message)
        except OSError:
            os._exit(0)

    def _read(self) -> None:
        with contextlib.suppress(OSError, NoMessageError):
            receive(self._requests, self._messages.put)
        # Artifacts are written aside and moved into place, so a job may end anywhere.
        os._exit(0)


def ended(code: int) -> str:
    """End of a process in words, from its exit code or the negative of a signal."""
    if code == -signal.SIGKILL:
        return "was killed (signal 9), perhaps because memory ran out"
    return f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"


def last_line(log: Path) -> str:
    """The last line of a file for what processes print, and where to read more."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1]} (see {log})" if lines else f"see {log}"


def _same_modules() -> dict[str, str]:
    """Settings by which a process finds the modules that this process finds, and no others in the present folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}

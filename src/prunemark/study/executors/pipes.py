"""A process that is told what to do, and answers, in lines of JSON over its standard input and output."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TextIO

Message = dict[str, Any]

# Two threads in one process fight over a shared machine's cores: one thread in each, set before torch is loaded.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_END_TIMEOUT_S = 5.0


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
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, **_ONE_THREAD, **_same_modules()},
            # Out of the terminal's process group: Ctrl-C is for the driver alone.
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def tell(self, message: Message) -> None:
        """Send a message; one that has just ended is reported by its listener."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Close its standard input, on which it ends at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def buried(self) -> int:
        """See the process end, kill it if it does not, free its pipes; its exit code, or the negative of a signal."""
        self.dismiss()
        try:
            code = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(json.loads(line))
        self._hear(None)


class Orders:
    """The side of the process that is told what to do; it ends when its standard input does.

    What it prints, or a user's code in it, goes to standard error and not into the answers.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
        self._requests = os.fdopen(os.dup(0), encoding="utf-8")
        self._replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self._requests,), daemon=True).start()

    def next(self) -> Message:
        """The next message; waits for it."""
        return json.loads(self._lines.get())

    def answer(self, message: Message) -> None:
        """Send a message back."""
        try:
            self._replies.write(json.dumps(message) + "\n")
            self._replies.flush()
        except BrokenPipeError:
            sys.exit(0)

    def _read(self, requests: TextIO) -> None:
        for line in requests:
            self._lines.put(line)
        # Artifacts are written aside and moved into place, so a job may end anywhere.
        os._exit(0)


def ended(code: int) -> str:
    """End of a process in words, from `Child.buried`."""
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

"""One writer at a time in a results folder."""

import contextlib
import os
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout


class StoreError(OSError):
    """A results folder that cannot be used; the message says why, and what to do."""


@contextlib.contextmanager
def writer_lock(folder: Path) -> Generator[None]:
    """Be the only writer of a folder; the operating system frees the lock when this process ends, however it ends.

    Raises:
        StoreError: another process is writing, or the folder cannot be written to.
    """
    # Beside the lock, whose file cannot be read on every system while it is held.
    writer = folder / "writer.txt"
    lock = FileLock(folder / "writer.lock", blocking=False, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StoreError(f"{folder} is being written by {_who(writer)}; wait for it, or use another folder") from None
    except NotImplementedError as error:
        raise StoreError(f"{folder} cannot be locked: {error}; use a local folder") from None
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror or error}") from None
    with lock:
        writer.write_text(f"process {os.getpid()} (since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)", encoding="utf-8")
        try:
            yield
        finally:
            writer.unlink(missing_ok=True)
            lock.release()


def _who(writer: Path) -> str:
    try:
        return writer.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"

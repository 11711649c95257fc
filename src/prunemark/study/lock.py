"""One writer at a time in a results folder."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path


class StoreError(OSError):
    """A results folder that cannot be used; the message says why, and what to do."""


@contextlib.contextmanager
def writer_lock(folder: Path) -> Generator[None]:
    """Be the only writer of a folder; the operating system lets go when this process ends, however it ends.

    Raises:
        StoreError: another process is writing, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # "a": opening must not wipe what the present writer wrote about itself.
        file = (folder / "writer.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise StoreError(f"{folder} is being written by {who}; wait for it, or use another folder") from None
        except OSError as error:
            raise StoreError(f"{folder} cannot be locked: {error.strerror}; use a local folder") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} (since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)")
        file.flush()
        yield
        file.truncate(0)

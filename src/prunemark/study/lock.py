"""One writer at a time in a results folder."""

import contextlib
import os
import platform
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from prunemark.artifacts import write_atomically
from prunemark.terms.text import one_line

_WRITER = "writer.txt"
# SQLite opens 512 bytes with the names of its own files.
_LONGEST_PATH = 480


class StoreError(OSError):
    """A results folder that cannot be used; the message says why, and what to do."""


def require_no_link(path: Path) -> None:
    """Check that a file of ours, if it is there, is no link: who sent the folder would say what is written where.

    Raises:
        StoreError: it is one.
    """
    if path.is_symlink():
        raise StoreError(f"{path} is a symbolic link, and prunemark makes none: it is not followed; remove it")


@contextlib.contextmanager
def writer_lock(folder: Path) -> Generator[None]:
    """Be the only writer of a folder; the operating system frees the lock when this process ends, however it ends.

    Raises:
        StoreError: another process is writing, or the folder cannot be written to.
    """
    # Beside the lock, whose file cannot be read on every system while it is held.
    writer, file = folder / _WRITER, folder / "writer.lock"
    lock = FileLock(file, blocking=False, thread_local=False)
    if len(os.fsencode(folder.absolute())) > _LONGEST_PATH:
        raise StoreError(
            f"cannot write to {folder}: the path is longer than the {_LONGEST_PATH} bytes that SQLite opens"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_no_link(file)
        require_no_link(writer)
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"{folder} is being written by {who_writes(folder)}; wait for it, or use another folder"
        ) from None
    except FileExistsError:
        raise StoreError(f"cannot write to {folder}: it is no folder") from None
    except NotImplementedError as error:
        raise StoreError(f"{folder} cannot be locked: {error}; use a local folder") from None
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror or error}") from None
    with lock:
        me = f"process {os.getpid()} on {platform.node()} (since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)"
        write_atomically(writer, me.encode())
        try:
            yield
        finally:
            if who_writes(folder) == me:
                writer.unlink(missing_ok=True)
            lock.release()


def who_writes(folder: Path) -> str:
    """The process that writes to a folder, in words, as it has left them there."""
    try:
        with (folder / _WRITER).open(encoding="utf-8") as file:
            return one_line(file.read(300).strip()) or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"

"""The journal: everything that is recorded, in a file of JSON lines beside the database, from which that is rebuilt.

Each line is {"hash": SHA-256 of the text of the entry, "entry": {TABLE: row or rows}}; a line whose hash is another
counts as not there. The file only ever grows, and a line is on the disk before the database knows of it. No torch.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prunemark.artifacts import sync_folder
from prunemark.study.lock import StoreError, who_writes

try:
    import fcntl
except ImportError:  # not on Windows, where a lock file that is held cannot be deleted
    fcntl = None

Entry = dict[str, Any]
"""One of {"facts": row}, {"studies": row}, {"jobs": row}, and {"trials": rows, "study": name}: all of that study."""

FILE = "journal.jsonl"
_START, _MIDDLE, _END = b'{"hash": "', b'", "entry": ', b"}\n"
_LONGEST_LINE = 2**29


@dataclass(frozen=True)
class Position:
    """Where a journal is at an end: the offset and the hash of the last line, and the offset after it."""

    at: int = 0
    hash: str = ""
    end: int = 0


class Journal:
    """A journal that is open to be written."""

    def __init__(self, folder: Path) -> None:
        """Open it; make it if there is none.

        Raises:
            StoreError: another process has it open to be written.
            OSError: it cannot be written to, or is a link.
        """
        self.path = folder / FILE
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._file = os.fdopen(os.open(self.path, flags, 0o666), "ab", buffering=0)
        try:
            _lock(self._file.fileno(), folder)
        except BaseException:
            self._file.close()
            raise
        self.size = os.fstat(self._file.fileno()).st_size
        sync_folder(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, *entries: Entry) -> Position:
        """Add entries; they are on the disk when this returns.

        Raises:
            StoreError: the file was removed or replaced meanwhile.
            OSError: such as a full disk; then what was written of them is taken back.
        """
        if not self._is_there():
            raise StoreError(f"{self.path} was removed or replaced while it was written to; run again to restore it")
        lines: list[bytes] = []
        digest = ""
        for entry in entries:
            text = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
            digest = hashlib.sha256(text).hexdigest()
            lines.append(_START + digest.encode() + _MIDDLE + text + _END)
        # A line that was cut off, by a kill or a full disk, stays where it is and is passed over by readers.
        cut = self.size > 0 and not self._ends_whole()
        content = (b"\n" if cut else b"") + b"".join(lines)
        try:
            _write_whole(self._file.fileno(), content)
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), self.size)
            raise
        self.size += len(content)
        return Position(self.size - len(lines[-1]), digest, self.size)

    def _is_there(self) -> bool:
        try:
            there = self.path.lstat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file.fileno()))

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _lock(descriptor: int, folder: Path) -> None:
    # The lock file may have been deleted, which locks nobody out; the journal would be missed.
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = who_writes(folder)
        raise StoreError(
            f"{folder} is being written by {who}, though its writer.lock was deleted; wait for it"
        ) from None
    except OSError:
        # A file system without such locks; then the lock file has to do.
        return


def _write_whole(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def read(folder: Path, since: int = 0) -> Iterator[tuple[Position, Entry | None]]:
    """The entries of a journal from an offset on, None for each line that is damaged; nothing where there is none."""
    path = folder / FILE
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(since)
        at = since
        while line := file.readline(_LONGEST_LINE):
            digest, entry = _parsed(line)
            yield Position(at, digest, at + len(line)), entry
            at += len(line)


def ends_at(folder: Path, position: Position) -> bool:
    """True if the journal has this line at this place."""
    return next((found == position for found, _ in read(folder, position.at)), position == Position())


def _parsed(line: bytes) -> tuple[str, Entry | None]:
    middle = len(_START) + 64
    digest, text = line[len(_START) : middle], line[middle + len(_MIDDLE) : -len(_END)]
    framed = line.startswith(_START) and line[middle:].startswith(_MIDDLE) and line.endswith(_END)
    if not framed or hashlib.sha256(text).hexdigest().encode() != digest:
        return "", None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return "", None
    return digest.decode(), entry if isinstance(entry, dict) else None

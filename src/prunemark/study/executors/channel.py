"""Messages between processes: JSON in frames that tell their length and checksum, over pipes of their own.

Nothing else is taken for a message: not half of one, nor what a user's code writes to descriptors that it does not own.
"""

import contextlib
import json
import os
import select
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Hear = Callable[[Message], None]
"""Called with each message."""

LARGEST = 1 << 26
"""Bytes of the longest message; the results of ResNet-50 take 28 KB."""
_MARK = b"\xabprune\xba\n"
_HEADER = struct.Struct("!8sQI")
_PIECE = 1 << 16
# Where a process may be asked, but not waited for, whether it has ended.
_POLL_MS = 20
# Descriptors of a process's channel begin here, out of the way of those that its code counts through.
_PRIVATE_FROM = 512


class NoMessageError(ValueError):
    """What came over a channel is no message."""


def send(descriptor: int, message: Message) -> None:
    """Write a message.

    Raises:
        ValueError: it is too long, or not JSON.
        OSError: nobody reads.
    """
    content = json.dumps(message).encode("ascii")
    if len(content) > LARGEST:
        raise ValueError(f"a message of {len(content):,} bytes is too long: at most {LARGEST:,} are sent")
    left = memoryview(_HEADER.pack(_MARK, len(content), zlib.crc32(content)) + content)
    while left:
        left = left[os.write(descriptor, left) :]


class Frames:
    """Messages in the bytes that come over a channel, in whatever pieces.

    What precedes the first message is left out: a fresh interpreter may print before our first line runs.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._begun = False

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that a piece completes.

        Raises:
            NoMessageError: it is part of none.
        """
        self._bytes += piece
        if not self._begun:
            found = self._bytes.find(_MARK)
            del self._bytes[: found if found >= 0 else max(0, len(self._bytes) - len(_MARK) + 1)]
            self._begun = found >= 0
        messages: list[Message] = []
        while self._begun and len(self._bytes) >= _HEADER.size:
            mark, length, checksum = _HEADER.unpack_from(self._bytes)
            if mark != _MARK or length > LARGEST:
                raise NoMessageError(f"{bytes(self._bytes[:20])!r} begins no message")
            if len(self._bytes) < _HEADER.size + length:
                break
            content = bytes(self._bytes[_HEADER.size : _HEADER.size + length])
            if zlib.crc32(content) != checksum:
                raise NoMessageError(f"a message of {length:,} bytes is damaged")
            messages.append(json.loads(content))
            del self._bytes[: _HEADER.size + length]
        return messages


def receive(descriptor: int, hear: Hear, *, pid: int | None = None) -> None:
    """Hear the messages of another process until nobody holds the writing end of the pipe, or it has ended.

    Args:
        descriptor: the end of the pipe that is read.
        hear: called with each message.
        pid: a child process, for whose end to wait, which comes before that of the pipe if processes of its own hold
            it, or after. It is not reaped, so that its number stays its own.

    Raises:
        NoMessageError: something came that is no message.
    """
    frames = Frames()
    if pid is None or not hasattr(select, "poll"):
        while piece := os.read(descriptor, _PIECE):
            _each(frames.feed(piece), hear)
        return
    process = _watched(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if process is not None:
        poll.register(process, select.POLLIN)
    try:
        is_open = True
        while True:
            ready = _ready(poll, None if process is not None else _POLL_MS)
            if descriptor in ready:
                piece = os.read(descriptor, _PIECE)
                _each(frames.feed(piece), hear)
                if not piece:
                    poll.unregister(descriptor)
                    is_open = False
                continue
            over = process in ready if process is not None else _has_ended(pid, is_open)
            # What it wrote between the two looks, before it ended, is still heard.
            if over and not (is_open and descriptor in _ready(poll, 0)):
                return
    finally:
        if process is not None:
            os.close(process)


def _each(messages: list[Message], hear: Hear) -> None:
    for message in messages:
        hear(message)


def _ready(poll: "select.poll", timeout_ms: float | None) -> set[int]:
    return {descriptor for descriptor, _ in poll.poll(timeout_ms)}


def _watched(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None on systems without such."""
    if sys.platform == "linux":
        try:
            return os.pidfd_open(pid)
        except OSError:
            return None
    return None


def _has_ended(pid: int, is_open: bool) -> bool:
    if not hasattr(os, "waitid"):
        return not is_open
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def private(descriptor: int) -> int:
    """Move a descriptor out of the way of the process's other code; neither programs it starts nor forks get it."""
    try:
        import fcntl

        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _PRIVATE_FROM)
    except (ImportError, OSError):
        # Not this system's, or fewer descriptors are allowed.
        moved = os.dup(descriptor)
    os.close(descriptor)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _close(moved))
    return moved


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)

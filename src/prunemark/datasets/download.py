"""Downloading one file, going on where an earlier try was cut off."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

DownloadProgress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that are here, and the bytes of the whole file or None if that is unknown."""

_CHUNK_BYTES = 1 << 13  # of these, what had come when a connection broke is lost
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60


def partial(path: Path) -> Path:
    """Path of the partial download, used until the whole file is there and verified."""
    return path.with_name(f"{path.name}.part")


def download(url: str, name: str, part: Path, to: Path, progress: DownloadProgress | None) -> None:
    """Download a file to `to`, keeping what has come so far in `part` for the next try.

    A connection that drops is taken up again as long as each try brings something. A server that cannot resume in
    the middle of a file sends it from the start. Nothing is verified here.

    Raises:
        requests.RequestException: the server cannot be reached, refuses, or drops the connection and brings nothing.
        OSError: `part` cannot be written to, or another process is writing to it.
    """
    from requests.exceptions import ChunkedEncodingError, ConnectionError
    from requests.exceptions import Timeout as SlowServer

    part.parent.mkdir(parents=True, exist_ok=True)
    lock = part.with_name(f".{part.name}.lock")
    try:
        held = FileLock(lock, blocking=False).acquire()
    except Timeout:
        raise BlockingIOError(f"another process is downloading to {part}; wait for it") from None
    with held:
        try:
            part.touch()
            while True:
                before = _size(part)
                try:
                    _resume(url, name, part, progress)
                    break
                # requests turns a body that ends early into either of the first two.
                except (ChunkedEncodingError, ConnectionError, SlowServer):
                    if _size(part) <= before:
                        raise
        except BaseException:
            if part.exists() and not _size(part):
                part.unlink()
            raise
        else:
            part.replace(to)
        finally:
            # Nobody waits for it: whoever finds it held gives up.
            lock.unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size


def _resume(url: str, name: str, part: Path, progress: DownloadProgress | None) -> None:
    import requests

    here = _size(part)
    # A compressed answer would have other bytes, at other places.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    timeouts = (_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)
    with requests.get(url, headers=headers, stream=True, timeout=timeouts) as answer:
        if here and answer.status_code == requests.codes.requested_range_not_satisfiable:
            if answer.headers.get("Content-Range") == f"bytes */{here}":
                return
            # What is here is longer than the file, so it is of another one.
            with part.open("wb"):
                pass
            _resume(url, name, part, progress)
            return
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content and answer.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {here}-")
        here = here if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = here + int(length) if length.isdigit() else None
        with part.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                here += len(chunk)
                if progress:
                    progress(name, here, total)

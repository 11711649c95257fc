"""Artifacts: tensors in a safetensors file with a named format, written whole or not at all, damage explained.

Masks, scores and checkpoints are read and written here and nowhere else. Importing this module imports no torch.
"""

import contextlib
import hashlib
import json
import os
import stat
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Place = str | Path
"""Where an artifact is: a path. Only this module opens one, so that it may become a URL."""


@dataclass(frozen=True)
class Format:
    """A kind of artifact: what it is called in messages, and its versioned name in the file."""

    noun: str
    name: str


@dataclass(frozen=True)
class Written:
    """SHA-256 (hex) and size in bytes of a written file."""

    digest: str
    size: int


class DamagedArtifactError(ValueError):
    """An artifact that is there and is not the one that was written: truncated, changed, or of another kind."""


@dataclass(frozen=True)
class Artifact:
    """Content of an artifact: tensors by name, in no meaningful order, and texts by name."""

    place: Place
    format: Format
    tensors: "dict[str, Tensor]"
    texts: dict[str, str]

    def json(self, name: str) -> Any:
        """The value whose JSON one of the texts is.

        Raises:
            KeyError: there is no such text.
            ValueError: it is no JSON.
        """
        return json.loads(self.texts[name])

    @contextlib.contextmanager
    def explained(self) -> Generator[None]:
        """Turn what goes wrong while the content is made sense of into a DamagedArtifactError that names the file."""
        try:
            yield
        except KeyError as error:
            raise DamagedArtifactError(
                f"{self.place} is a damaged {self.format.noun} file: it has no {error.args[0]!r}"
            ) from error
        except (TypeError, ValueError) as error:
            raise DamagedArtifactError(f"{self.place} is a damaged {self.format.noun} file: {error}") from error


def artifact_place(folder: Place, key: str) -> Path:
    """The place of the artifact of a job."""
    return Path(folder) / f"{key}.safetensors"


def artifact_key(path: Path) -> str:
    """The key of the job that a file beside artifacts is of: its artifact, a state within it, or one under way."""
    return path.name.lstrip(".").partition(".")[0]


def size_of(place: Place) -> int | None:
    """Bytes of an artifact; None if there is none."""
    try:
        about = Path(place).stat()
    except OSError:
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def plain_copies(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Copies on the CPU, contiguous, that share no memory, as a file needs them."""
    import torch

    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def write_artifact(place: Place, format: Format, tensors: "Mapping[str, Tensor]", texts: Mapping[str, str]) -> Written:
    """Write an artifact; whatever happens, the place holds either the old file or the whole new one.

    Args:
        place: where.
        format: its kind.
        tensors: by name; on the CPU, contiguous, without shared memory, as `plain_copies` makes them.
        texts: what else there is to say, by name.

    Raises:
        OSError: there is no such folder, or it cannot be written to.
    """
    from safetensors.torch import save

    content = _ordered(save(dict(tensors), {"format": format.name, **texts}))
    write_atomically(place, content)
    return Written(hashlib.sha256(content).hexdigest(), len(content))


def _ordered(content: bytes) -> bytes:
    """The file with its texts in order: safetensors writes them in any, and the same content is to be the same file."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[8 + size :]])


def read_artifact(place: Place, format: Format, *, digest: str | None = None) -> Artifact:
    """Read an artifact of a kind.

    Args:
        place: where it is.
        format: its kind.
        digest: the SHA-256 (hex) that it was written with, where that is known.

    Raises:
        FileNotFoundError: there is none.
        DamagedArtifactError: a ValueError; it is truncated, no artifact at all, one of another kind, or another one
            than was written.
    """
    from safetensors import SafetensorError, safe_open

    if size_of(place) is None:
        raise FileNotFoundError(
            f"there is no {format.noun} file {place}{' (a folder)' if Path(place).is_dir() else ''}"
        )
    if digest is not None and (found := digest_of(place)) != digest:
        raise DamagedArtifactError(
            f"{place} is not the {format.noun} file that was written: SHA-256 {found}, expected {digest}"
        )
    try:
        with safe_open(place, framework="pt") as file:
            texts = dict(file.metadata() or {})
            if (got := texts.pop("format", "none")) != format.name:
                raise DamagedArtifactError(
                    f"{place} is no {format.noun} file: its format is {got}, expected {format.name}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not iterable
    except SafetensorError as error:
        raise DamagedArtifactError(
            f"{place} is not a whole safetensors file, and a {format.noun} file is one: it has "
            f"{Path(place).stat().st_size:,} bytes: {error}"
        ) from error
    return Artifact(place, format, tensors, texts)


def has_its_length(place: Place) -> bool:
    """True if an artifact is as long as its own header says, which a file that was cut off is not."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        with Path(place).open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, size_of(place) or 0)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + size + max(ends, default=0) == size_of(place)
    return False


def write_atomically(place: Place, content: bytes) -> None:
    """Write a file; whatever happens, the place holds either the old file or the whole new one.

    Raises:
        OSError: there is no such folder, or it cannot be written to.
    """
    path = Path(place)
    if path.is_dir():
        raise IsADirectoryError(f"cannot write a file in place of the folder {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names of new files in a folder on the disk."""
    # Without this the file is on the disk after a power failure, but perhaps not its name. Windows opens no folders.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest_of(place: Place) -> str:
    """SHA-256 (hex) of a file."""
    with Path(place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Reading the members of tar and zip archives and of folders, without unpacking anything.

What a well-made archive does not hold is refused, though nothing would be written: paths that climb out of the
archive, links, devices, two files of one name.
"""

import contextlib
import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_DAMAGE = (EOFError, OSError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
_REST_BYTES = 1 << 20
# Ten times the largest file of a data set that we read: CIFAR-100's train.bin has 154 MB.
_LARGEST_BYTES = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of a folder or a zip archive.

    Attributes:
        origin: the folder or the archive, for messages.
        names: paths relative to it, with "/", in order.
        read: the content of the file of that name; ValueError if it could not be loaded.
    """

    origin: str
    names: tuple[str, ...]
    read: Callable[[str], bytes]

    def text(self, name: str) -> str:
        """A text file.

        Raises:
            ValueError: it is not there, cannot be read, or is no UTF-8.
        """
        if name not in self.names:
            raise ValueError(f"{self.origin}: {name} is missing")
        try:
            return self.read(name).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.origin}: {name} is not text: {error}") from None

    def below(self, folder: str) -> "Tree":
        """The tree of the files in a folder of this one."""
        prefix = f"{folder}/"
        inside = tuple(name.removeprefix(prefix) for name in self.names if name.startswith(prefix))
        return Tree(origin=f"{self.origin}/{folder}", names=inside, read=lambda name: self.read(prefix + name))


def read_tar_gz(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The content of some files of a gzip-compressed tar archive.

    Raises:
        ValueError: not such an archive, or a damaged one; a file is missing or there twice; a member that climbs out
            of the archive or is neither a file nor a folder.
    """
    wanted = set(names)
    seen: set[str] = set()
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                _require_inside(path, member.name)
                if not member.isfile() and not member.isdir():
                    raise ValueError(f"{path}: {member.name} is a link or a device; files and folders were expected")
                name = str(PurePosixPath(member.name))
                if member.isfile():
                    _require_once(path, name, seen)
                if name in wanted and (file := archive.extractfile(member)):
                    _require_size(path, name, member.size)
                    contents[name] = file.read()
            # The checksum of gzip comes last, behind what tar reads.
            while stream.read(_REST_BYTES):
                pass
    except _DAMAGE as error:
        raise ValueError(f"{path}: not a gzip-compressed tar archive, or a truncated one: {error}") from error
    if missing := sorted(wanted - contents.keys()):
        raise ValueError(f"{path}: {', '.join(missing)} missing in the archive")
    return contents


@contextlib.contextmanager
def zip_tree(path: Path) -> Generator[Tree]:
    """The files of a zip archive, to be read while this context lasts.

    Raises:
        ValueError: not such an archive, or a damaged one; a member that is there twice, climbs out of the archive, or
            is a link.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (*_DAMAGE, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a zip archive, or a truncated one: {error}") from error

    def read(name: str) -> bytes:
        try:
            _require_size(path, name, archive.getinfo(name).file_size)
            return archive.read(name)
        except (*_DAMAGE, KeyError, NotImplementedError, RuntimeError) as error:
            # The last two: a way of compressing that Python does not have, and a password.
            raise ValueError(f"{path}: {name} is damaged or cannot be read: {error}") from error

    with archive:
        names: set[str] = set()
        for member in archive.infolist():
            _require_inside(path, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ValueError(f"{path}: {member.filename} is a link; files and folders were expected")
            if not member.is_dir():
                _require_once(path, member.filename, names)
        yield Tree(origin=str(path), names=tuple(sorted(names)), read=read)


def folder_tree(folder: Path) -> Tree:
    """The files in a folder and its subfolders."""

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise ValueError(f"{folder / name}: cannot be read: {error}") from error

    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Tree(origin=str(folder), names=tuple(names), read=read)


def _require_inside(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(f'{path}: the path "{name}" climbs out of the archive')


def _require_size(path: Path, name: str, size: int) -> None:
    """Check a size that an archive declares, before memory is taken for it; what comes after is cut off there."""
    if size > _LARGEST_BYTES:
        raise ValueError(f"{path}: {name} is said to have {size:,} bytes; at most {_LARGEST_BYTES:,} are read")


def _require_once(path: Path, name: str, seen: set[str]) -> None:
    if name in seen:
        raise ValueError(f"{path}: {name} is there twice")
    seen.add(name)

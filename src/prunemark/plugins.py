"""Entries that other packages add to the tables of methods, networks and data sets, by entry points. No torch.

A package names them in its own metadata; in pyproject.toml:

    [project.entry-points."prunemark.methods"]
    wanda = "prunemark_wanda:ENTRY"

ENTRY is a `MethodEntry` (`NetworkEntry`, `DatasetEntry`). Its module is imported when the entry is used, and had better
not import torch; what its `target` names is imported later, when it runs.
"""

import functools
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from prunemark.registry import Entry
from prunemark.version import __version__

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]*")
# Bytes. Weights that a package ships are not read again for each job.
_LARGE = 1_000_000

E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, kw_only=True)
class Package:
    """The package that an entry is from.

    Attributes:
        name: of its distribution.
        version: of its distribution.
        places: its folders or files of code.
    """

    name: str
    version: str
    places: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def identity(self) -> dict[str, str]:
        """What a job's key says of it: name, version, and the SHA-256 over all of its files as they are now."""
        digest = hashlib.sha256()
        for place in self.places:
            for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if file.is_file() and "__pycache__" not in file.parts:
                    digest.update(f"{file.relative_to(place.parent).as_posix()} {_content(file)};".encode())
        return {"name": self.name, "version": self.version, "sha256": digest.hexdigest()}


class Table(MutableMapping[str, E]):
    """A table of named entries: those of this package, then those of others.

    Names are known without importing anything of the other packages. A name that two packages offer is refused when it
    is used, as is an entry that cannot be loaded: `table[name]` raises a ValueError that names the packages.

    Args:
        group: the entry points' group, such as "prunemark.methods".
        kind: what an entry is, in messages.
        of: the class of an entry.
        own: the entries of this package.
    """

    def __init__(self, group: str, kind: str, of: type[E], own: dict[str, E]) -> None:
        self.group, self.kind = group, kind
        self._of, self._own = of, own
        self._loaded: dict[tuple[str, ...], E] = {}

    def __getitem__(self, name: str) -> E:
        theirs = self._theirs().get(name, ())
        offers = [f"prunemark {__version__}"] if name in self._own else []
        offers += [_distribution(each) for each in theirs]
        if not offers:
            raise KeyError(name)
        if len(offers) > 1:
            raise ValueError(
                f'the {self.kind} "{name}" is offered by {" and by ".join(offers)}: which one is meant is not known; '
                "uninstall one of them"
            )
        if not theirs:
            return self._own[name]
        where = (name, *sys.path)
        if where not in self._loaded:
            self._loaded[where] = self._load(name, theirs[0])
        return self._loaded[where]

    def __setitem__(self, name: str, entry: E) -> None:
        self._own[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._theirs()

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in self._theirs() if name not in self._own)

    def __len__(self) -> int:
        return len(self._own.keys() | self._theirs().keys())

    def origin(self, name: str) -> str:
        """Name and version of the package that offers an entry, without importing it; of several, all of them."""
        offers = [f"prunemark {__version__}"] if name in self._own else []
        return " and ".join([*offers, *map(_distribution, self._theirs().get(name, ()))])

    def _theirs(self) -> dict[str, tuple[EntryPoint, ...]]:
        return _found(self.group, tuple(sys.path))

    def _load(self, name: str, point: EntryPoint) -> E:
        where = f'the {self.kind} "{name}" of {_distribution(point)} ({point.value})'
        if not _NAME.fullmatch(name) or ".py:" in name:
            raise ValueError(
                f"{where}: a name is made of letters, digits and _ . : + -, and begins with one of the first two"
            )
        try:
            entry: Any = point.load()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(entry, self._of):
            raise ValueError(f"{where} must be a {self._of.__name__}, not {type(entry).__name__}")
        assert point.dist is not None
        modules = dict.fromkeys((point.module, entry.target.partition(":")[0]))
        places = dict.fromkeys(_place(module, where) for module in modules if module.partition(".")[0] != "prunemark")
        package = Package(name=point.dist.name, version=point.dist.version, places=tuple(places))
        return replace(entry, package=package)


@functools.cache
def _found(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of a group on the import path, which is an argument so that a change of it is noticed."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=group), key=lambda each: (each.name, _distribution(each))):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _distribution(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _place(module: str, where: str) -> Path:
    """The folder of the package that a module belongs to, the first with code of its own, or the module's file."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:depth]))
        except ImportError:
            break
        if spec is None:
            break
        if spec.origin is not None:
            return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
    raise ValueError(f"{where}: there is no module {module}")


def _content(file: Path) -> str:
    stat = file.stat()
    return _content_of(file, stat.st_mtime_ns, stat.st_size) if stat.st_size > _LARGE else _content_of.__wrapped__(file)


@functools.cache
def _content_of(file: Path, modified_ns: int = 0, size: int = 0) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

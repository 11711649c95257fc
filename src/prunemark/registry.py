"""Tables of named things that are imported only when they are used, and the error for an unknown name."""

import hashlib
import importlib
import importlib.util
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a table: where the thing lives, what it is, whom it comes from.

    `target` is "package.module:attribute" and is imported by `load`, so a table can be read, listed and
    checked against without importing torch. `options` are the keyword arguments that make this entry
    out of the target.
    """

    target: str
    summary: str
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def load(self) -> Any:
        """Import and return the target."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


_MOST_NAMES = 40

E_co = TypeVar("E_co", bound=Entry, covariant=True)


def unknown(kind: str, got: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: what was got, what is known (of many, the nearest), what was probably meant."""
    names = sorted(known)
    close = get_close_matches(got.lower(), names, n=1, cutoff=0.5)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    shown, rest = names, ""
    if len(names) > _MOST_NAMES:
        shown = get_close_matches(got.lower(), names, n=5, cutoff=0)
        rest = f" and {len(names) - len(shown)} more"
    return f'unknown {kind} "{got}"; known: {", ".join(shown)}{rest}{hint}'


def find(table: Mapping[str, E_co], kind: str, name: str) -> E_co:
    """The entry of that name.

    Raises:
        ValueError: there is none; the message lists the known names and the nearest one.
    """
    if name not in table:
        raise ValueError(unknown(kind, name, table))
    return table[name]


def is_file_reference(name: str) -> bool:
    """Whether a name is "FILE.py:attribute", a user's own code, rather than an entry of a table."""
    path, colon, attribute = name.rpartition(":")
    return bool(colon) and path.endswith(".py") and attribute.isidentifier()


def load_file(reference: str, base: Path | None = None) -> Any:
    """Import the attribute of a "FILE.py:attribute" reference, relative to `base` (default: here).

    Raises:
        ValueError: the file or the attribute does not exist, or the file fails to import.
    """
    path_text, _, attribute = reference.rpartition(":")
    path = (base or Path.cwd()) / path_text
    if not path.is_file():
        raise ValueError(f'"{reference}": there is no file {path}')
    # Named by content: two files of one name, or one file edited in a session, are different modules.
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{digest}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f'"{reference}": importing {path} failed: {type(error).__name__}: {error}') from error
    if not hasattr(module, attribute):
        public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ValueError(f'"{reference}": {unknown("attribute", attribute, public)}')
    value = getattr(module, attribute)
    if not callable(value):
        raise ValueError(f'"{reference}" cannot be called: it is of type {type(value).__name__}')
    return value


def failure(reference: str, error: Exception) -> str:
    """In one line, what a user's own "FILE.py:attribute" failed with, and in which line of the file.

    A ValueError that did not pass through the file, such as ours about what it returned, speaks for itself.
    """
    file = Path(reference.rpartition(":")[0]).name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file]
    message = " ".join(str(error).split())
    if not lines and isinstance(error, ValueError):
        return message
    where = f" in line {lines[-1]}" if lines else ""
    return f"{reference} failed{where}: {type(error).__name__}: {message}"

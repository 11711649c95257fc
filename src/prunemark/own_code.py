"""A user's own file, named as "FILE.py:attribute": recognised, checked, hashed, loaded, explained. No torch."""

import ast
import functools
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prunemark.registry import unknown


def is_own_code(name: str) -> bool:
    """Whether a name is of the form "FILE.py:attribute", a user's own code, rather than an entry of a table."""
    path, colon, attribute = name.rpartition(":")
    return bool(colon) and path.endswith(".py") and attribute.isidentifier()


def anchored(name: str, folder: Path) -> str:
    """The name with its file taken from a folder, if it is "FILE.py:attribute" and relative; unchanged otherwise."""
    return str((folder / name).absolute()) if is_own_code(name) else name


def short_name(name: str) -> str:
    """The name without the folders of its file, if it is "FILE.py:attribute"; unchanged otherwise."""
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).name}:{attribute}" if is_own_code(name) else name


@dataclass(frozen=True)
class OwnCode:
    """A function or class in a user's file.

    Attributes:
        path: the file, absolute.
        attribute: its name there.
        digest: SHA-256 (hex) of the file's content when it was found.
    """

    path: Path
    attribute: str
    digest: str

    @classmethod
    def find(cls, reference: str) -> Self:
        """Find the file of "FILE.py:attribute", relative to the working folder, without running it.

        Raises:
            ValueError: there is no such file.
        """
        text, _, attribute = reference.rpartition(":")
        path = Path(text).resolve()
        if not path.is_file():
            raise ValueError(f'"{reference}": there is no file {path}')
        return cls(path, attribute, hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def reference(self) -> str:
        """ "FILE.py:attribute" with the file's absolute path."""
        return f"{self.path}:{self.attribute}"

    def check(self) -> Self:
        """Check, without running the file, that it is valid Python and defines the attribute.

        Raises:
            ValueError: it is not, or does not.
        """
        try:
            tree = ast.parse(self.path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise ValueError(f'"{self.reference}": {self.path} is not valid Python: {error}') from None
        defined = _assigned_names(tree)
        if self.attribute not in defined and "*" not in defined:
            public = (name for name in defined if not name.startswith("_"))
            raise ValueError(f'"{self.reference}": {unknown("name", self.attribute, public)}')
        return self

    def load(self) -> Any:
        """Import the file, once per content, and return its attribute.

        Raises:
            ValueError: the file fails to import or ends the program; it has no such attribute, or one that cannot be
                called.
        """
        module = _module(self.path, self.digest)
        if not hasattr(module, self.attribute):
            public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise ValueError(f'"{short_name(self.reference)}": {unknown("attribute", self.attribute, public)}')
        value = getattr(module, self.attribute)
        if not callable(value):
            raise ValueError(f'"{short_name(self.reference)}" cannot be called: it is of type {type(value).__name__}')
        return value


def explain(name: str, error: BaseException) -> str:
    """One-line account of an error raised by "FILE.py:attribute", with the line of the file that raised it.

    A ValueError that did not pass through the file, such as ours about what it returned, is passed on unchanged.
    """
    file = Path(name.rpartition(":")[0]).name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file]
    message = " ".join(str(error).split())
    if not lines and isinstance(error, ValueError):
        return message
    where = f" in line {lines[-1]}" if lines else ""
    if isinstance(error, SystemExit):
        return f"{name} ended the program{where}: sys.exit({message})"
    return f"{name} failed{where}: {type(error).__name__}: {message}"


@contextmanager
def explained(name: str) -> Generator[None]:
    """Turn what "FILE.py:attribute" raises, the end of the program included, into a ValueError of one line.

    Errors of anything else, such as an entry of a table, are passed on unchanged.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if not is_own_code(name):
            raise
        raise ValueError(explain(name, error)) from error


@functools.cache
def _module(path: Path, digest: str) -> Any:
    # Named by content: two files of one name, or one file edited in a session, are different modules.
    name = f"{path.stem}_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses and pickle look the module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = f"sys.exit({error}) ends the program" if isinstance(error, SystemExit) else _named(error)
        raise ValueError(f"importing {path} failed: {reason}") from error
    return module


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _assigned_names(tree: ast.Module) -> set[str]:
    """Every name that the file defines, assigns or imports anywhere; "*" where it imports all of a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Import() | ast.ImportFrom():
                names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            case _:
                pass
    return names

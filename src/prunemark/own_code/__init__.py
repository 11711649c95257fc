"""A user's own file, named as "FILE.py:attribute": recognised, checked, hashed, loaded, explained. No torch."""

import ast
import functools
import hashlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from prunemark.own_code.imports import SourceLoader, bind, computed_imports, own_modules, require_bound
from prunemark.registry import unknown


def is_own_code(name: str) -> bool:
    """True if a name is of the form "FILE.py:attribute", a user's own code, rather than an entry of a table."""
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
    """A function or class in a user's file, and the files that its results depend on.

    Attributes:
        path: the file, absolute.
        attribute: its name there.
        modules: the user's modules that it imports: name -> (file, SHA-256), sorted; see `own_modules`.
        depends_on: files and folders that it reads, as the user declares them.
        digest: SHA-256 (hex) when it was found: of the file's content if that is all, else over the contents of
            everything above.
    """

    path: Path
    attribute: str
    modules: tuple[tuple[str, Path, str], ...]
    depends_on: tuple[Path, ...]
    digest: str

    @classmethod
    def find(cls, reference: str, depends_on: Iterable[str | Path] = ()) -> Self:
        """Find the file of "FILE.py:attribute", relative to the working folder, without running it.

        Args:
            reference: "FILE.py:attribute".
            depends_on: files and folders that it reads.

        Raises:
            ValueError: there is no such file.
        """
        text, _, attribute = reference.rpartition(":")
        path = Path(text).resolve()
        if not path.is_file():
            raise ValueError(f'"{reference}": there is no file {path}')
        modules = tuple((name, file, _content(file)) for name, file in own_modules(path).items())
        declared = tuple(sorted(Path(each).expanduser().resolve() for each in depends_on))
        return cls(path, attribute, modules, declared, _digest(path, modules, declared))

    @property
    def covered(self) -> list[Path]:
        """The file, and all other files and folders that the digest covers."""
        return [self.path, *(file for _, file, _ in self.modules), *self.depends_on]

    @property
    def reference(self) -> str:
        """ "FILE.py:attribute" with the file's absolute path."""
        return f"{self.path}:{self.attribute}"

    def coverage(self) -> str:
        """Sentence on which changes make results out of date, and which do not."""
        modules = [name for name, _, _ in self.modules]
        more = [f"and {len(modules) - 5} more"] if len(modules) > 5 else []
        parts = [self.path.name]
        parts += [f"what it imports ({', '.join([*modules[:5], *more])})"] if modules else []
        parts += [f"what it depends on ({', '.join(path.name for path in self.depends_on)})"] if self.depends_on else []
        return (
            f"a change of {' or '.join(parts)} is noticed and its jobs run again; a change of installed packages, or "
            f"of {'other ' if self.depends_on else ''}files that it reads, is not: depends_on = [...] names such files"
        )

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
        module = _module(replace(self, attribute=""))
        if not hasattr(module, self.attribute):
            public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise ValueError(f'"{short_name(self.reference)}": {unknown("attribute", self.attribute, public)}')
        value = getattr(module, self.attribute)
        if not callable(value):
            raise ValueError(f'"{short_name(self.reference)}" cannot be called: it is of type {type(value).__name__}')
        return value


def require_covered(codes: Sequence[OwnCode], before: set[str]) -> None:
    """Check that what was imported since `before` is covered by the digests of these files.

    Args:
        codes: whatever of the user's has run since then.
        before: the names in `sys.modules` then.

    Raises:
        ValueError: a module of the user's is not, because its name was computed while it ran; all such files are named.
    """
    covered = [file for code in codes for file in code.covered]
    for code in codes:
        unseen = [
            file
            for file in computed_imports(before, code.path.parent)
            if not any(file == known or file.is_relative_to(known) for known in covered)
        ]
        if unseen:
            names = ", ".join(f'"{os.path.relpath(file, code.path.parent)}"' for file in unseen)
            raise ValueError(
                f"{code.path.name} imports modules under names that are computed while it runs, so that a change of "
                f"them would go unnoticed: add depends_on = [{names}] to the study"
            )


def explain(name: str, error: BaseException) -> str:
    """One-line account of an error raised by "FILE.py:attribute", with the line of the file that raised it.

    A ValueError that did not pass through the file, such as ours about what it returned, is passed on unchanged.
    """
    file = Path(name.rpartition(":")[0]).name
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == file]
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
def _module(code: OwnCode) -> Any:
    modules = {name: file for name, file, _ in code.modules}
    bind(modules, {name: digest for name, _, digest in code.modules})
    if (folder := str(code.path.parent)) not in sys.path:
        # Last: what is imported under a computed name may be beside the file, but hides nothing.
        sys.path.append(folder)
    # Named by content: two files of one name, or one file edited in a session, are different modules.
    name = f"{code.path.stem}_{code.digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, code.path, loader=SourceLoader(name, str(code.path)))
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
        raise ValueError(f"importing {code.path} failed: {reason}") from error
    require_bound(modules)
    return module


def _digest(path: Path, modules: Iterable[tuple[str, Path, str]], depends_on: Iterable[Path]) -> str:
    own = _content(path)
    covered = {name: digest for name, _, digest in modules}
    read = [entry for each in depends_on for entry in _contents(each)]
    if not covered and not read:
        return own
    return hashlib.sha256(json.dumps([own, covered, sorted(read)]).encode()).hexdigest()


def _contents(declared: Path) -> Iterator[tuple[str, str]]:
    """Name and content's hash of a file, or of each file in a folder by its path there."""
    if declared.is_dir():
        for file in sorted(declared.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(Path(declared.name, file.relative_to(declared)).as_posix()), _content(file)
    elif declared.is_file():
        yield declared.name, _content(declared)
    else:
        raise ValueError(f"depends_on: there is no file or folder {declared}")


def _content(file: Path) -> str:
    stat = file.stat()
    return _content_of(file, stat.st_mtime_ns, stat.st_size) if stat.st_size > _LARGE else _content_of.__wrapped__(file)


# Bytes. Weights of a model are not read again for each job.
_LARGE = 1_000_000


@functools.cache
def _content_of(file: Path, modified_ns: int = 0, size: int = 0) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


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

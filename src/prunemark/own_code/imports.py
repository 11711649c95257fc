"""The modules of the user's that a file imports: found without running anything, and loaded from those very files."""

import ast
import functools
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

# Loaded before any code of the user's, whatever a neighbour of its file is called.
_OURS = ("prunemark", "torch", "numpy", "scipy", "pandas", "safetensors")


def own_modules(file: Path) -> dict[str, Path]:
    """The modules that a file imports, directly or through others, other than Python's own and installed packages.

    A module is looked for beside the file, then where Python looks; a package that was installed in place (editable)
    counts. Imports inside functions count, as do `import_module("name")` and `__import__("name")`. What is imported
    under a computed name cannot be seen.

    Returns:
        Name -> file, sorted by name; without the file itself.
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    specs: dict[str, ModuleSpec | None] = {}
    pending: list[tuple[Path, str]] = [(file, "")]
    while pending:
        importer, package = pending.pop()
        for name in _imported_names(importer, package, importer.stat().st_mtime_ns, importer.stat().st_size):
            for part in _with_parents(name):
                if part in seen:
                    continue
                seen.add(part)
                spec = _find(part, file.parent, specs)
                source = Path(spec.origin).resolve() if spec and spec.has_location and spec.origin else None
                if spec is None or source is None or source == file or not is_own_file(source, file.parent):
                    continue
                found[part] = source
                pending.append((source, part if spec.submodule_search_locations else part.rpartition(".")[0]))
    return dict(sorted(found.items()))


def is_own_file(file: Path, folder: Path) -> bool:
    """True if a module's file is the user's: no part of Python, of an installed package or of prunemark.

    Args:
        file: of the module, resolved.
        folder: of the user's file; a virtual environment in it is not the user's code.
    """
    if any(file.is_relative_to(root) for root in _not_own()):
        return False
    inside = file.relative_to(folder) if file.is_relative_to(folder) else file
    return not {"site-packages", "dist-packages"} & set(inside.parts)


def bind(modules: dict[str, Path], digests: dict[str, str]) -> None:
    """See to it that these modules are imported from these files, as they are now.

    Raises:
        ValueError: a module of that name is loaded already, from another file.
    """
    require_bound(modules)
    if any(name in sys.modules and _loaded.get(name, digests[name]) != digests[name] for name in modules):
        # All of them: one that has not changed may hold on to what one that has changed defined.
        for name in modules.keys() & _loaded.keys():
            sys.modules.pop(name, None)
    _loaded.update(digests)
    _FINDER.files.update(modules)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def require_bound(modules: dict[str, Path]) -> None:
    """Raise a ValueError if one of these modules is loaded from another file than its own."""
    for name, file in modules.items():
        loaded: Any = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(loaded, str) and Path(loaded).resolve() != file:
            raise ValueError(f"{file} cannot be imported as {name}: that is {loaded} here; rename the file")


def computed_imports(before: set[str], folder: Path) -> list[Path]:
    """Files of the user's that were imported since `before`, the names in `sys.modules` then."""
    files: set[Path] = set()
    for name in set(sys.modules) - before:
        module: ModuleType | None = sys.modules.get(name)
        origin: Any = getattr(module, "__file__", None)
        if isinstance(origin, str):
            files.add(Path(origin).resolve())
    return sorted(file for file in files if is_own_file(file, folder))


class SourceLoader(SourceFileLoader):
    """Compiles the source; cached bytecode is told from new source by second and size only."""

    def get_code(self, fullname: str) -> Any:
        """The code of the source as it is now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.files: dict[str, Path] = {}

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        file = self.files.get(fullname)
        if file is None or file.suffix != ".py":
            return None
        places = [str(file.parent)] if file.name == "__init__.py" else None
        loader = SourceLoader(fullname, str(file))
        return importlib.util.spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=places)


_FINDER = _Finder()
_loaded: dict[str, str] = {}


@functools.cache
def _not_own() -> tuple[Path, ...]:
    import prunemark

    paths = sysconfig.get_paths()
    ours = Path(str(prunemark.__file__)).parent
    return tuple(Path(path).resolve() for path in (paths["stdlib"], paths["platstdlib"], ours))


@functools.cache
def _imported_names(file: Path, package: str, modified_ns: int, size: int) -> tuple[str, ...]:
    """The names that a file imports; parsed once, as long as it does not change."""
    try:
        return tuple(_names_in(ast.parse(file.read_bytes()), package)) if file.suffix == ".py" else ()
    except (SyntaxError, ValueError):
        return ()  # whoever runs it is told


def _names_in(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*parents, *([node.module] if node.module else [])])
                yield base
                # Each may be a module of the package, or a name in it.
                yield from (f"{base}.{alias.name}" for alias in node.names if base and alias.name != "*")
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name
            case _:
                pass


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))] if all(parts) else []


def _find(name: str, folder: Path, specs: dict[str, ModuleSpec | None]) -> ModuleSpec | None:
    """Spec of a module, found without importing its parent packages, as `importlib.util.find_spec` would."""
    if name not in specs:
        top, _, _ = name.partition(".")
        parent, _, _ = name.rpartition(".")
        places: list[str] | None = None
        if parent:
            package = _find(parent, folder, specs)
            places = list(package.submodule_search_locations or []) if package else []
        if top in sys.stdlib_module_names or top in _OURS or places == []:
            specs[name] = None
        else:
            specs[name] = (None if parent else PathFinder.find_spec(name, [str(folder)])) or _anywhere(name, places)
    return specs[name]


def _anywhere(name: str, places: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if finder is not _FINDER and (spec := finder.find_spec(name, places, None)) is not None:
            return spec
    return None

"""Study files: where they lie, what they hold, what they extend. No torch."""

import tomllib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from prunemark.own_code import anchored
from prunemark.registry import unknown
from prunemark.study.problems import StudyError


def studies() -> dict[str, str]:
    """The studies that ship with prunemark: name, such as "quickstart" or "laptop/e1-digits" -> description."""
    return {name: str(tomllib.loads(file.read_text(encoding="utf-8"))["description"]) for name, file in _shipped()}


def read(study: str | Path) -> tuple[dict[str, Any], str]:
    """The fields of a study, from a file or by a shipped name, and what to call it in messages.

    Relative "FILE.py:NAME" references are taken from the file's folder. `extends = STUDY` takes every field that the
    file does not give, but name and description, from another study: a shipped name, or a file beside this one.

    Raises:
        StudyError: no such study, TOML that cannot be read, or studies that extend each other.
    """
    return _read(study, Path.cwd(), ())


def _read(study: str | Path, folder: Path, extended_by: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    shipped = dict(_shipped())
    path = folder / study
    if isinstance(study, str) and study in shipped:
        text, origin, beside = shipped[study].read_text(encoding="utf-8"), f"studies/{study}.toml", Path.cwd()
    elif path.suffix == ".toml" or path.is_file():
        origin, beside = str(study if folder == Path.cwd() else path), path.parent
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise StudyError([f"{origin}: the study cannot be read: {reason}"]) from None
    else:
        raise StudyError([f"{unknown('study', str(study), shipped)}; a file of yours ends in .toml"])
    if origin in extended_by:
        raise StudyError([f"{origin}: extends: goes round in a circle: {' -> '.join([*extended_by, origin])}"])
    try:
        fields = _absolute(tomllib.loads(text), beside)
    except tomllib.TOMLDecodeError as error:
        raise StudyError([f"{origin}: not valid TOML: {error}"]) from None
    if "extends" not in fields:
        return fields, origin
    base = fields.pop("extends")
    if not isinstance(base, str):
        raise StudyError([f"{origin}: extends: must be the name or the file of a study, not {base!r}"])
    try:
        inherited, _ = _read(base, beside, (*extended_by, origin))
    except StudyError as error:
        raise error if extended_by else StudyError(f"{origin}: extends: {line}" for line in error.problems) from None
    return {key: value for key, value in inherited.items() if key not in ("name", "description")} | fields, origin


def _shipped() -> Iterator[tuple[str, Traversable]]:
    yield from _toml_files(resources.files("prunemark") / "studies", "")


def _toml_files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name.endswith(".toml"):
            yield prefix + item.name.removesuffix(".toml"), item
        elif item.is_dir():
            yield from _toml_files(item, f"{prefix}{item.name}/")


def _absolute(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields with each "FILE.py:NAME" taken from the study's folder."""

    def resolved(value: Any) -> Any:
        return anchored(value, folder) if isinstance(value, str) else value

    fields = {key: resolved(value) if key == "network" else value for key, value in fields.items()}
    methods = fields.get("methods")
    if isinstance(methods, list):
        fields["methods"] = [
            {**item, "name": resolved(item.get("name"))}
            if isinstance(item, dict) and "name" in item
            else resolved(item)
            for item in methods
        ]
    return fields

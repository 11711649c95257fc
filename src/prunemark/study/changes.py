"""Changes of a study's fields that are made from outside its file: `--set recipe.epochs=5`. No torch."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from prunemark.study.problems import StudyError

_PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def parse_changes(texts: Iterable[str]) -> dict[str, Any]:
    """Fields and their values from texts such as "recipe.epochs=5": dotted path -> value.

    The value is written as in a study file, in TOML.

    Raises:
        StudyError: texts that are not of that form, or fields that are set twice: all of them.
    """
    changes: dict[str, Any] = {}
    problems: list[str] = []
    for text in texts:
        path, equals, written = (part.strip() for part in text.partition("="))
        if not equals or not _PATH.fullmatch(path):
            problems.append(f'--set {text}: is written FIELD=VALUE, as in "recipe.epochs=5"')
            continue
        if path in changes:
            problems.append(f"--set {path}: is given twice")
        try:
            parsed = tomllib.loads(f"value = {written}\n")
        except tomllib.TOMLDecodeError:
            parsed = {}
        if parsed.keys() != {"value"}:
            hint = f"; text needs quotes: --set '{path}=\"{written}\"'" if re.match(r"[A-Za-z]", written) else ""
            problems.append(f"--set {path}: {written or 'nothing'} is not a TOML value, as in a study file{hint}")
            continue
        changes[path] = parsed["value"]
    if problems:
        raise StudyError(problems)
    return changes


def changed(fields: Mapping[str, Any], changes: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The fields with these changes; what is given is not changed itself.

    Args:
        fields: of a study.
        changes: dotted path -> value. Tables on the way to a field that are not there are made.
        origin: what to call the study in messages.

    Raises:
        StudyError: a path through what is no table, or into what another change replaces: all of them.
    """
    result = dict(fields)
    problems: list[str] = []
    for path, value in changes.items():
        *parents, last = path.split(".")
        above = [".".join(parents[:depth]) for depth in range(1, len(parents) + 1)]
        if replaced := next((parent for parent in above if parent in changes), None):
            problems.append(f"{origin}: set {path}: {replaced} is set as a whole, too")
            continue
        table, here = result, ""
        for here, parent in zip(above, parents, strict=True):
            inner = table.get(parent, {})
            if not isinstance(inner, Mapping):
                problems.append(f"{origin}: set {path}: {here} is no table; set it as a whole")
                break
            table[parent] = table = dict[str, Any](inner)
        else:
            table[last] = value
    if problems:
        raise StudyError(problems)
    return result

"""Fields of a stored study, checked: a folder comes from anywhere, and from earlier versions too. No torch."""

import json
from typing import Any

from prunemark.study.lock import StoreError
from prunemark.terms.text import one_line

_KINDS: dict[str, type | tuple[type, ...]] = {
    "network": str,
    "dataset": str,
    "methods": list,
    "recipe": dict,
    "margin": (int, float),
    "examples_per_class": int,
    "replicates": (int, dict),
}


def study_fields(name: str, text: str) -> dict[str, Any]:
    """The fields of a study, from their JSON, with texts that fit a line.

    Raises:
        StoreError: they are not those of a study.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    problem = _problem(fields)
    if problem:
        raise StoreError(f"the study {one_line(name)} of this folder is no study of prunemark: {problem}")
    return _one_line(fields)


def _problem(fields: Any) -> str:
    if not isinstance(fields, dict):
        return "it has no fields"
    for name, kind in _KINDS.items():
        if not isinstance(fields.get(name), kind):
            return f"{name} is {one_line(repr(fields.get(name)), 60)}"
    for method in fields["methods"]:
        if not (
            isinstance(method, dict) and isinstance(method.get("name"), str) and isinstance(method.get("label"), str)
        ):
            return f"methods has {one_line(repr(method), 60)}"
    return ""


def _one_line(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _one_line(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    return one_line(value) if isinstance(value, str) else value

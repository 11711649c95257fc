"""Problems of a study, all at once, in sentences that say where."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from prunemark.registry import unknown


class StudyError(ValueError):
    """A study that cannot be run.

    Attributes:
        problems: one sentence each, with the file (or "Study") and the field in front.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def fail(*problems: str) -> PydanticCustomError:
    """The error a validator raises for a field; each problem is a sentence, or "[2]: sentence" for an item."""
    return PydanticCustomError("prunemark", "{text}", {"text": "\n".join(problems)})


def sentences(error: ValidationError, origin: str, known: Mapping[str, Iterable[str]]) -> list[str]:
    """The problems of a failed validation, in the order of the fields.

    Args:
        error: what pydantic raised.
        origin: the file, or "Study".
        known: the names of the keys that a table may have: by the first part of its location, "" for the study.
    """
    lines: list[str] = []
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # its items have problems of their own
        location = list(detail["loc"])
        if detail["type"] == "extra_forbidden":
            key = location.pop()
            allowed = known.get(str(location[0]) if location else "", ())
            messages = [unknown("key", str(key), allowed)]
        elif detail["type"] == "prunemark":
            messages = str(detail["ctx"]["text"]).split("\n") if "ctx" in detail else [detail["msg"]]
        else:
            messages = [_expected(detail)]
        if location[:1] == ["methods"] and location[-1] == "name":
            location.pop()
        where = _path(location)
        for message in messages:
            glue = "" if message.startswith("[") else ": "
            lines.append(f"{origin}: {where}{glue}{message}" if where else f"{origin}: {message}")
    return lines


def _expected(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "too_short":
        return "needs at least one item"
    text = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"must be {text}, not {_shown(detail['input'])}" if text != detail["msg"] else text


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except TypeError:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _path(location: list[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text

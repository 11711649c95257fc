"""The field `replicates` of a study: a number, or looks at a growing number. No torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, get_args

from pydantic import PlainSerializer, PlainValidator

from prunemark.registry import unknown
from prunemark.study.problems import fail
from prunemark.terms.looks import SIZES, Looks, Until

_KEYS = tuple(asdict(Looks()))
_FORMS = 'a whole number from 1, or { min = 3, max = 20, until = "claims" }'


def parse(value: Any) -> int | Looks:
    """The field as written: 5, or a table of min, max and until, each of which may be missing.

    Raises:
        PydanticCustomError: it is neither; all that is wrong with a table.
    """
    if isinstance(value, Looks):
        return value
    if isinstance(value, Mapping):
        fields: dict[str, Any] = dict(value)
        if problems := _problems(fields):
            raise fail(*problems)
        return Looks(**fields)
    if type(value) is not int or value < 1:
        raise fail(f"must be {_FORMS}, not {json.dumps(value, default=repr)}")
    return value


def _problems(fields: Mapping[str, Any]) -> list[str]:
    problems = [unknown("key", name, _KEYS) for name in fields if name not in _KEYS]
    least, most = fields.get("min", SIZES[0]), fields.get("max", SIZES[-1])
    wrong = [name for name, count in (("min", least), ("max", most)) if type(count) is not int or count < SIZES[0]]
    problems += [f"{name} is a whole number from {SIZES[0]}, not {json.dumps(fields[name])}" for name in wrong]
    if not wrong and least > most:
        problems.append(f"min = {least} is above max = {most}")
    if "until" in fields and fields["until"] not in get_args(Until):
        problems.append(unknown("until", str(fields["until"]), get_args(Until)))
    return problems


def _plain(replicates: int | Looks) -> int | dict[str, Any]:
    return replicates if isinstance(replicates, int) else asdict(replicates)


Replicates = Annotated[int | Looks, PlainValidator(parse), PlainSerializer(_plain)]


def sizes(replicates: int | Looks) -> tuple[int, ...]:
    """The numbers of replicates at which a study may end."""
    return (replicates,) if isinstance(replicates, int) else replicates.sizes

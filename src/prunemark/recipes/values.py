"""Kinds of values that fields of a recipe and options of an optimizer take."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Kind:
    """A kind of value: what to call it, and whether a value is of it."""

    words: str
    holds: Callable[[Any], bool]


def is_integer(value: object) -> bool:
    """True for a whole number; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """True for a finite number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_list(value: object, holds: Callable[[object], bool]) -> bool:
    """True for a list or tuple of such items."""
    return isinstance(value, list | tuple) and all(map(holds, cast("Iterable[object]", value)))


def _is_pair(value: object, holds: Callable[[object], bool]) -> bool:
    return is_list(value, holds) and len(cast("tuple[object, ...]", value)) == 2


def is_fraction(value: object) -> bool:
    """True for a number in [0, 1)."""
    return is_number(value) and 0 <= cast("float", value) < 1


COUNT = Kind("a whole number of at least 1", lambda value: is_integer(value) and value >= 1)
NUMBER = Kind("a number", is_number)
POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
AMOUNT = Kind("a number of at least 0", lambda value: is_number(value) and value >= 0)
FRACTION = Kind("a number in [0, 1)", is_fraction)
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
FRACTIONS = Kind("two numbers in [0, 1)", lambda value: _is_pair(value, is_fraction))
NUMBERS = Kind("two numbers", lambda value: _is_pair(value, is_number))
NAME = Kind("a name", lambda value: isinstance(value, str))
NAMES = Kind("a list of names", lambda value: is_list(value, lambda item: isinstance(item, str)))
EPOCHS = Kind("a list of epochs", lambda value: is_list(value, is_number))
FACTOR = Kind("a number above 1", lambda value: is_number(value) and value > 1)
OPTIONS = Kind("a table of options", lambda value: isinstance(value, dict))

"""A user's own scoring function, and methods configured by options."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from typing import Any, Literal, cast, get_args, get_origin

from torch import Tensor

from prunemark.methods.base import Method, Problem
from prunemark.registry import unknown


@dataclass(frozen=True, kw_only=True)
class Custom:
    """A scoring function as a method: `function(problem)` gives the scores, larger = keep."""

    function: Callable[[Problem], Mapping[str, Tensor]]
    rounds: int = 1

    def __call__(self, problem: Problem, /) -> Mapping[str, Tensor]:
        """Call the function."""
        return self.function(problem)


def configure(kind: Callable[..., Method], name: str, options: Mapping[str, Any]) -> Method:
    """Build a method from its class (or another callable that returns one) and options.

    Raises:
        ValueError: an option that the method does not have, or a value that does not fit or is refused.
    """
    # A class that is no dataclass checks its own arguments.
    if is_dataclass(kind):
        known = {field.name for field in fields(kind)}
        for option in options:
            if option not in known:
                raise ValueError(f"{name}: {unknown('option', option, known)}")
        _check(kind, name, options)
    return cast(Callable[..., Method], kind)(**options)


def checked(method: Method) -> Method:
    """The method itself, if its options are what their annotations say.

    Raises:
        ValueError: one is not.
    """
    if is_dataclass(method):
        values = {field.name: getattr(method, field.name) for field in fields(method)}
        _check(type(method), type(method).__name__, values)
    return method


def _check(kind: Any, name: str, values: Mapping[str, Any]) -> None:
    """Check values against the annotations of a dataclass's fields: choices, numbers and flags."""
    for field in fields(kind):
        allowed = _allowed(field.type)
        if allowed is not None and field.name in values and not allowed[1](values[field.name]):
            raise ValueError(f"{name}: {field.name} is {allowed[0]}; got {values[field.name]!r}")


def _allowed(kind: Any) -> tuple[str, Callable[[Any], bool]] | None:
    """What a field of this type holds, in words and as a test; None of types that are not checked."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return " or ".join(f'"{choice}"' for choice in choices), lambda value: value in choices
    if kind is bool:
        return "True or False", lambda value: type(value) is bool
    # To Python, True is a number.
    if kind is int:
        return "a whole number", lambda value: type(value) is not bool and isinstance(value, Integral)
    if kind is float:
        return "a number", lambda value: type(value) is not bool and isinstance(value, Real)
    return None

"""Methods from options, and from whatever scores: a function, or an object with some of the switches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, Literal, cast, get_args, get_origin

from torch import Tensor

from prunemark.methods.base import Method, Problem, ZeroMeans
from prunemark.registry import unknown


@dataclass(frozen=True, kw_only=True)
class Custom(Method):
    """A scoring function as a method, with switches as its author needs them.

    Attributes:
        function: `function(problem)` gives the scores, larger = keep.
    """

    function: Callable[[Problem], Mapping[str, Tensor]]
    examples_per_class: int = 10
    ordinary_batch: int | None = None
    revives: bool = False
    keeps_ceiling: bool = False
    reuses_weights: bool = False
    keeps_model: bool = False
    zero_means: ZeroMeans = "unknown"

    def __call__(self, problem: Problem, /) -> Mapping[str, Tensor]:
        """Call the function."""
        return self.function(problem)

    def facts(self) -> tuple[str, dict[str, Any]]:
        """The function's name, and its own options if it is a dataclass."""
        own: Any = self.function
        return getattr(own, "__name__", type(own).__name__), _values(own) if is_dataclass(own) else {}


_SWITCHES = tuple(field.name for field in fields(Method))
# "revive" and "round" are near to a switch, "bounds" is not.
_NEAR = 0.85


def adapt(scoring: Callable[[Problem], Mapping[str, Tensor]]) -> Method:
    """A method from itself, or from a function or another object that scores and may have switches of `Method`.

    Raises:
        ValueError: an attribute that is almost called like a switch; an option or switch that is not what its
            annotation says.
    """
    label = getattr(scoring, "__name__", type(scoring).__name__)
    for name in dir(scoring):
        if name.startswith("_") or name in _SWITCHES or not get_close_matches(name, _SWITCHES, cutoff=_NEAR):
            continue
        if not callable(getattr(scoring, name)):
            raise ValueError(f"{label}: {unknown('switch', name, _SWITCHES)}")
    if isinstance(scoring, Method):
        method: Method = scoring
    else:
        if is_dataclass(scoring):
            _check(type(scoring), label, _values(scoring))
        given = {name: getattr(scoring, name) for name in _SWITCHES if hasattr(scoring, name)}
        method = Custom(function=cast(Callable[[Problem], Mapping[str, Tensor]], scoring), **given)
    _check(type(method), label, _values(method))
    return method


def is_configured(scoring: Any) -> bool:
    """True if it says in how many rounds it prunes, and so is a method rather than a function that takes options."""
    return hasattr(scoring, "rounds")


def option_names(kind: Any) -> set[str]:
    """The options of a dataclass of a method; none of another callable."""
    return {field.name for field in fields(kind) if field.init} if is_dataclass(kind) else set()


def _values(method: Any) -> dict[str, Any]:
    return {field.name: getattr(method, field.name) for field in fields(method)}


def configure(kind: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Method:
    """Build a method from its class (or another callable that returns one) and options.

    Raises:
        ValueError: an option that the method does not have, or a value that does not fit or is refused.
    """
    # A class that is not a dataclass checks its own arguments.
    if is_dataclass(kind):
        known = option_names(kind)
        for option in options:
            if option not in known:
                raise ValueError(f"{name}: {unknown('option', option, known)}")
        _check(kind, name, options)
    return adapt(cast(Callable[..., Any], kind)(**options))


def _check(kind: Any, name: str, values: Mapping[str, Any]) -> None:
    """Check values against the annotations of a dataclass's fields: choices, numbers and flags."""
    for field in fields(kind):
        allowed = _allowed(field.type)
        if allowed is not None and field.name in values and not allowed[1](values[field.name]):
            raise ValueError(f"{name}: {field.name} is {allowed[0]}; got {values[field.name]!r}")


def _allowed(kind: Any) -> tuple[str, Callable[[Any], bool]] | None:
    """Allowed values of a field of this type, in words and as a test; None for types that are not checked."""
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

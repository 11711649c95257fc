"""A user's own scoring function, and methods configured by options."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

from torch import Tensor

from prunemark.methods.problem import Method, Problem
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
        ValueError: an option that the method does not have, or a value it refuses.
    """
    # A class that is no dataclass checks its own arguments.
    known = {field.name for field in fields(kind)} if is_dataclass(kind) else set(options)
    for option in options:
        if option not in known:
            raise ValueError(f"{name}: {unknown('option', option, known)}")
    return cast(Callable[..., Method], kind)(**options)

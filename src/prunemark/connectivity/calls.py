"""One call of a torch function, as the rules see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prunemark.connectivity.signals import CannotFollowError, Ledger, Signal, as_signal


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a torch function with at least one Signal among its arguments.

    A rule takes the operands that it follows by `signal` and `follow`, and names by `account_for` those that it follows
    otherwise or that carry nothing; a Signal beside these is refused by `check`, so that none is dropped unnoticed.
    """

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    ledger: Ledger
    seen: set[int] = field(default_factory=set[int])

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by its position or name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def device(self) -> torch.device:
        """Device of the Signals."""
        return signals_in((self.args, self.kwargs))[0].device

    def signal(self, position: int, name: str = "input") -> Signal:
        """An operand that paths are followed through, as a Signal."""
        value = self.get(position, name)
        if value is None:
            raise CannotFollowError(f"topology cannot follow torch's {self.name} without its operand {name!r}")
        return self.follow(value)

    def follow(self, value: Any) -> Signal:
        """The Signal of an operand that paths are followed through."""
        self.account_for(value)
        return as_signal(value, self.device)

    def account_for(self, *values: Any) -> None:
        """Say of operands that the rule follows them, or that the result does not depend on their values."""
        self.seen.update(id(found) for found in signals_in(values))

    def check(self) -> None:
        """Refuse the call if the rule looked at some operands only.

        Raises:
            CannotFollowError: naming the function and the operand.
        """
        places = [*((f"argument {at + 1}", value) for at, value in enumerate(self.args)), *self.kwargs.items()]
        for place, value in places:
            if any(id(found) not in self.seen for found in signals_in(value)):
                raise CannotFollowError(
                    f"topology cannot follow torch's {self.name} where {place} is computed from the input or from "
                    "parameters, whose values training changes"
                )

    def with_planes(self, plane: Callable[[Signal], Tensor]) -> Any:
        """The function's own result for planes in place of Signals."""
        return self.function(*map_signals(self.args, plane), **map_signals(dict(self.kwargs), plane))


FunctionRule = Callable[[Call], Any]


def of_constants(call: Call) -> Any:
    """Any function of parameters alone: where it is not 0 for random numbers, its result is alive.

    Raises:
        CannotFollowError: it gives whole numbers, such as the order of parameters.
    """
    call.account_for(call.args, call.kwargs)
    source = torch.Generator(call.device).manual_seed(0)

    def drawn(found: Signal) -> Tensor:
        return (0.5 + torch.rand(found.shape, generator=source, device=call.device)) * found.alive.detach()

    def as_constant(made: Any) -> Any:
        if isinstance(made, Tensor):
            if not made.is_floating_point() and not made.is_complex():
                raise CannotFollowError(
                    f"topology cannot follow torch's {call.name} of parameters, whose values training changes"
                )
            return as_signal(made.detach(), call.device)
        return tuple(as_constant(item) for item in made) if isinstance(made, tuple | list) else made

    return as_constant(call.with_planes(drawn))


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [found for item in value for found in tensors_in(item)] if isinstance(value, tuple | list) else []


def signals_in(value: Any) -> list[Signal]:
    """All Signals in nested tuples, lists and dicts."""
    return [tensor for tensor in tensors_in(value) if isinstance(tensor, Signal)]


def map_signals(value: Any, function: Callable[[Signal], Any]) -> Any:
    """Nested tuples, lists and dicts with each Signal replaced."""
    if isinstance(value, Signal):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_signals(item, function) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_signals(item, function) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(map_signals(item, function) for item in value)
    return value

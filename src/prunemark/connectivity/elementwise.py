"""Functions of each element: activations, sums, products, and choices between elements."""

from typing import Any

import torch
from torch import Tensor

from prunemark.connectivity import algebra
from prunemark.connectivity.calls import Call
from prunemark.connectivity.signals import FAR, Signal, as_signal


def same(call: Call) -> Signal:
    """0 stays 0."""
    return algebra.same(call.signal(0))


def copy(call: Call) -> Signal:
    """The same again."""
    source = call.signal(0)
    return algebra.same(source, shift=source.shift)


def negate(call: Call) -> Signal:
    """-input."""
    source = call.signal(0)
    return algebra.same(source, shift=None if source.shift is None else -source.shift)


def vanish(call: Call) -> Signal:
    """A function that is 0 far below 0."""
    source = call.signal(0)
    made = algebra.same(source) if call.name in ("relu", "relu6") else algebra.revive(source)
    return algebra.only(call.ledger, made, None if source.shift is None else source.shift > -FAR)


def revive(call: Call) -> Signal:
    """0 becomes something else."""
    return algebra.revive(call.signal(0))


def bounded(call: Call) -> Signal:
    """A function with bounds, numbers or tensors, that say whether 0 stays 0."""
    source = call.signal(0)
    others = [value for value in (*call.args[1:], *_without_input(call).values()) if isinstance(value, Tensor)]
    if any(isinstance(other, Signal) for other in others):
        return algebra.revive(algebra.add(source, *(call.follow(other) for other in others)))
    at_zero = call.with_planes(lambda s: torch.zeros(s.shape, device=s.device))
    return algebra.add(source, as_signal(at_zero, call.device))


def _without_input(call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.kwargs.items() if name != "input"}


def prelu(call: Call) -> Signal:
    """max(x, 0) + weight * min(x, 0), a weight for all or for each channel."""
    source, weight = call.signal(0), call.signal(1, "weight")
    per_channel = algebra.arrange(weight, lambda w: w.reshape(-1, *[1] * (source.dim() - 2)))
    return algebra.add(source, algebra.times(call.ledger, source, per_channel))


def add(call: Call) -> Signal:
    """Maxima and the like of two, which are 0 where both are."""
    return algebra.add(call.signal(0), call.signal(1, "other"))


def add_or_subtract(call: Call) -> Signal:
    """input + other, input - other, or other - input."""
    left, right = call.signal(0), call.signal(1, "other")
    made = algebra.add(left, right)
    if call.get(2, "alpha", 1) == 1:
        signs = {"sub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1)}.get(call.name, (1, 1))
        terms = zip((left, right), signs, strict=True)
        made.shift = algebra.shift_of(
            *(algebra.same(term, shift=None if term.shift is None else sign * term.shift) for term, sign in terms)
        )
    return made


def compare(call: Call) -> Signal:
    """A function of two elements that is not 0 where both are, such as a comparison."""
    return algebra.revive(add(call))


def multiply(call: Call) -> Signal:
    """input * other."""
    left, right = call.signal(0), call.signal(1, "other")
    made = algebra.times(call.ledger, left, right)
    for one, other in ((left, call.get(1, "other")), (right, call.get(0, "input"))):
        if one.shift is not None and not isinstance(other, Signal):
            made.shift = (one.shift * other).expand(made.shape)
    return made


def divide(call: Call) -> Signal:
    """input / other."""
    source, other = call.signal(0), call.get(1, "other")
    made = algebra.times(call.ledger, source, algebra.revive(call.signal(1, "other")))
    if source.shift is not None and not isinstance(other, Signal):
        made.shift = (source.shift / other).expand(made.shape)
    return made


def divide_swapped(call: Call) -> Signal:
    """other / input."""
    return algebra.times(call.ledger, call.signal(1, "other"), algebra.revive(call.signal(0)))


def add_product(call: Call) -> Signal:
    """input + tensor1 * tensor2, or input + tensor1 / tensor2."""
    left, right = call.signal(1, "tensor1"), call.signal(2, "tensor2")
    right = algebra.revive(right) if call.name == "addcdiv" else right
    return algebra.add(call.signal(0), algebra.times(call.ledger, left, right))


def power(call: Call) -> Signal:
    """input ** exponent."""
    exponent = call.get(1, "exponent")
    if isinstance(exponent, int | float) and exponent > 0:
        return same(call)
    return algebra.revive(algebra.add(call.signal(0), call.signal(1, "exponent")))


def lerp(call: Call) -> Signal:
    """(1 - weight) * input + weight * end."""
    given = call.get(2, "weight")
    weight = call.signal(2, "weight")
    rest = algebra.revive(weight) if isinstance(given, Signal) else as_signal(1 - given, call.device)
    start, end = call.signal(0), call.signal(1, "end")
    return algebra.add(algebra.times(call.ledger, start, rest), algebra.times(call.ledger, end, weight))


def masked_fill(call: Call) -> Signal:
    """`value` where the mask is True, input elsewhere."""
    return _choice(call, call.get(1, "mask"), call.signal(2, "value"), call.signal(0))


def where(call: Call) -> Signal:
    """`input` where the condition is True, other elsewhere."""
    if call.function is Tensor.where:
        return _choice(call, call.get(1, "condition"), call.signal(0), call.signal(2, "other"))
    return _choice(call, call.get(0, "condition"), call.signal(1), call.signal(2, "other"))


def _choice(call: Call, condition: Any, chosen: Signal, otherwise: Signal) -> Signal:
    yes = call.follow(condition)
    no = algebra.revive(yes) if isinstance(condition, Signal) else as_signal(condition == 0, call.device)
    made = algebra.add(algebra.times(call.ledger, chosen, yes), algebra.times(call.ledger, otherwise, no))
    shifts = [chosen.shift, otherwise.shift]
    if not isinstance(condition, Signal) and any(shift is not None for shift in shifts):
        zero = torch.zeros((), dtype=torch.float32, device=call.device)
        made.shift = torch.where(condition != 0, *(zero if s is None else s for s in shifts)).expand(made.shape)
    return made

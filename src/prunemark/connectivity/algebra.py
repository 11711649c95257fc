"""The operations on Signals that everything else is made of."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from prunemark.connectivity.flops import note
from prunemark.connectivity.memory import as_view, share
from prunemark.connectivity.signals import FAR, Ledger, Origin, Signal, inward, outward, signal

# Sums of zeros and ones are whole numbers: anything below this is rounding, as of fast convolutions.
INTEGER = 0.5


def product(
    ledger: Ledger,
    multiply: Callable[[Tensor, Tensor], Tensor],
    left: Signal,
    right: Signal,
    *,
    multiply_adds: Callable[[Tensor], int] | None,
    unit_axis: int | None = None,
) -> Signal:
    """A bilinear operation: a path continues through either factor wherever the other is alive.

    reach = multiply(left.reach, right.alive) + multiply(left.alive, right.reach)
    alive = multiply(left.alive, right.alive)

    Args:
        ledger: takes note of the weight's units and of the multiply-adds.
        multiply: the operation on planes.
        left, right: the factors; at most one is a masked weight in practice.
        multiply_adds: of the operation, given its result; None where they are not counted.
        unit_axis: the axis of the result that holds the weight's units, if one does.
    """
    origin = next((s.origin for s in (left, right) if s.reach is None and s.origin is not None), None)
    reads_weight = any(s.reach is None and s.alive.requires_grad for s in (left, right))
    meter = partial(_measure, ledger, origin, unit_axis) if reads_weight else None
    terms: list[Tensor] = []
    if left.reach is not None:
        terms.append(multiply(inward(left.reach, INTEGER), inward(right.alive, INTEGER)))
    if right.reach is not None:
        terms.append(multiply(inward(left.alive, INTEGER), inward(right.reach, INTEGER)))
    with torch.set_grad_enabled(not terms):
        alive = outward(multiply(inward(left.alive, INTEGER), inward(right.alive, INTEGER)), INTEGER)
    if multiply_adds is not None:
        note(ledger, multiply, left, right, multiply_adds(alive))
    return signal(outward(_sum(terms), INTEGER, meter) if terms else None, alive)


def _measure(ledger: Ledger, origin: Origin | None, unit_axis: int | None, used: Tensor) -> Tensor:
    if not ledger.one_step:
        return used
    if origin is not None and unit_axis is not None:
        ledger.record(origin, unit_axis, used)
    # One step back, what is beyond this weight does not matter: it is read, so what it keeps is in use.
    return torch.ones_like(used)


def _sum(planes: list[Tensor]) -> Tensor:
    total = planes[0]
    for plane in planes[1:]:
        total = total + plane
    return total


def linear(ledger: Ledger, inputs: Signal, weight: Signal, *, bias: Signal | None) -> Signal:
    """inputs @ weight.T + bias, units along the last axis."""
    made = product(
        ledger,
        functional.linear,
        inputs,
        weight,
        multiply_adds=lambda out: out.numel() * weight.shape[-1],
        unit_axis=-1,
    )
    return made if bias is None else add(made, bias)


def matmul(ledger: Ledger, left: Signal, right: Signal) -> Signal:
    """left @ right."""
    return product(ledger, torch.matmul, left, right, multiply_adds=lambda out: out.numel() * left.shape[-1])


def times(ledger: Ledger, left: Signal, right: Signal) -> Signal:
    """left * right, element by element."""
    made = product(ledger, torch.mul, left, right, multiply_adds=None)
    # A weight that is scaled by constants is still that weight, but where these are 0.
    for weight, factor in ((left, right), (right, left)):
        origin = _same_weight(made, weight)
        if origin is not None and factor.origin is None:
            made.origin = replace(origin, exact=False) if factor.is_tracked else _where(origin, factor.alive > 0)
    return made


def _where(origin: Origin, kept: Tensor) -> Origin:
    if kept.all():
        return origin
    return replace(origin, numbers=lambda: _negative(origin.numbers(), ~kept), whole=False)


def _negative(numbers: Tensor, where: Tensor) -> Tensor:
    return numbers.where(~where, -numbers.abs())


def add(*terms: Signal) -> Signal:
    """The sum of Signals, element by element; also their difference, maximum and the like."""
    shape = torch.broadcast_shapes(*(term.shape for term in terms))
    reaching = [term.reach.expand(shape) for term in terms if term.reach is not None]
    alive = _sum([term.alive.expand(shape) for term in terms])
    if not reaching:
        made = signal(None, outward(inward(alive)))
    else:
        alive = (alive > 0).float()
        # A shift by a constant needs no node of its own.
        made = signal(reaching[0] if len(reaching) == 1 else outward(_sum(reaching)), alive)
    origin = _same_weight(made, *terms)
    if origin is not None and any(term.is_tracked or term.alive.any() for term in terms if term.origin is None):
        origin = replace(origin, exact=False)
    made.origin = origin
    return made


def _same_weight(made: Signal, *sources: Signal) -> Origin | None:
    origins = [source.origin for source in sources if source.origin is not None and source.shape == made.shape]
    return origins[0] if made.reach is None and len(origins) == 1 else None


def same(source: Signal, *, shift: Tensor | None = None) -> Signal:
    """A function of each element that leaves 0 at 0; `shift` says what it makes of the source's."""
    return signal(source.reach, source.alive, origin=source.origin, shift=shift)


def shift_of(*terms: Signal) -> Tensor | None:
    """The shift of a sum of Signals."""
    shifts = [term.shift for term in terms if term.shift is not None]
    shape = torch.broadcast_shapes(*(term.shape for term in terms))
    return _sum(shifts).expand(shape) if shifts else None


def allowed(source: Signal, dim: Any = None) -> Tensor | None:
    """Mask of the elements not shifted far below the largest along `dim`; None if no element is shifted."""
    if source.shift is None or not source.dim():
        return None
    axes = tuple(range(source.dim())) if dim is None else dim
    below = source.shift - source.shift.amax(axes, keepdim=True) <= -FAR
    return ~(below | (source.shift == -torch.inf))


def only(ledger: Ledger, source: Signal, where: Tensor | None) -> Signal:
    """The source where it is allowed, 0 elsewhere."""
    return source if where is None else times(ledger, source, signal(None, where.float().expand(source.shape)))


def revive(source: Signal) -> Signal:
    """A function of each element that is not 0 at 0, such as a sigmoid or the addition of a bias."""
    # A weight that is never 0 still has a path through it.
    alive = outward(inward(source.alive) + 1) if source.alive.requires_grad else torch.ones_like(source.alive)
    origin = None if source.origin is None else replace(source.origin, exact=False)
    return signal(source.reach, alive, origin=origin)


def gather(source: Signal, combine: Callable[[Tensor], Tensor], *, threshold: float = 0.0) -> Signal:
    """A sum or mean of elements with positive coefficients, such as pooling; of ones, it is above the threshold."""
    planes = [plane for plane in (source.reach, source.alive) if plane is not None]
    sums: list[Tensor] = []
    for plane in planes:
        with torch.set_grad_enabled(plane is planes[0]):
            sums.append(outward(combine(inward(plane, threshold)).float(), threshold))
    return signal(sums[0] if len(sums) > 1 else None, sums[-1])


def centre(source: Signal, spread: Callable[[Tensor], Tensor]) -> Signal:
    """Elements less the mean of their group: not 0 where any of the group is not; alone in its group, an element is 0.

    The statistics that a group shares are no path.

    Args:
        source: what is normalised.
        spread: of a plane, for each element the sum over its group.
    """
    with torch.no_grad():
        alone = spread(torch.ones_like(source.alive)) == 1
    if alone.any():
        source = signal(None if source.reach is None else source.reach * ~alone, source.alive * ~alone)
    return signal(source.reach, outward(spread(inward(source.alive))))


def total(source: Signal, dim: Any, *, keepdim: bool) -> Signal:
    """The sum over `dim`: an axis, several, or None for all; also the maximum, the norm and the like."""
    axes = tuple(range(source.dim())) if dim is None else dim
    return gather(source, lambda plane: plane.sum(axes, keepdim=keepdim))


def softmax(
    ledger: Ledger, source: Signal, dim: int, *, where: Tensor | None = None, logarithm: bool = False
) -> Signal:
    """Each element depends on all of its axis that is allowed; alone on its axis it is the constant 1.

    Nothing is 0 but what is not allowed: what `where` leaves out, or what is shifted far below the rest.
    """
    if source.shape[dim] == 1:
        constant = torch.ones_like(source.alive, requires_grad=False)
        return signal(None if source.reach is None else torch.zeros_like(constant), constant)
    by_shift = allowed(source, dim)
    if by_shift is not None:
        where = by_shift if where is None else where & by_shift
    source = only(ledger, source, where)
    made = revive(gather(source, lambda plane: plane.sum(dim, keepdim=True).expand_as(plane)))
    return made if logarithm else only(ledger, made, where)


def join(parts: Sequence[Signal], combine: Callable[[list[Tensor]], Tensor]) -> Signal:
    """Several tensors in one, side by side or stacked."""
    alive = combine([part.alive for part in parts])
    shift = None
    if any(part.shift is not None for part in parts):
        shift = combine([torch.zeros_like(p.alive.detach()) if p.shift is None else p.shift for p in parts])
    reach = None
    if any(part.reach is not None for part in parts):
        reach = combine([torch.zeros_like(part.alive) if part.reach is None else part.reach for part in parts])
    return signal(reach, alive, origin=_joined(parts, combine) if reach is None else None, shift=shift)


def _joined(parts: Sequence[Signal], combine: Callable[[list[Tensor]], Tensor]) -> Origin | None:
    origins = [part.origin for part in parts]
    named = [origin for origin in origins if origin is not None]
    if not named or any(part.is_tracked and part.origin is None for part in parts):
        return None
    shapes = [part.alive.detach() for part in parts]

    def numbers() -> Tensor:
        pieces = zip(origins, shapes, strict=True)
        return combine([s.new_zeros(s.shape, dtype=torch.float64) if o is None else o.numbers() for o, s in pieces])

    return Origin(name=named[0].name, numbers=numbers, exact=all(origin.exact for origin in named))


def _moved(origin: Origin | None, move: Callable[[Tensor], Tensor]) -> Origin | None:
    return None if origin is None else replace(origin, numbers=lambda: move(origin.numbers()), whole=False)


def multiplied(ledger: Ledger, source: Signal) -> Signal:
    """The product over the last axis: a path leads through each factor where all the others are alive."""
    while (size := source.shape[-1]) > 1:
        half = size // 2
        left = arrange(source, lambda plane, half=half: plane[..., :half])
        right = arrange(source, lambda plane, half=half: plane[..., half : 2 * half])
        pairs = times(ledger, left, right)
        odd = arrange(source, lambda plane, half=half: plane[..., 2 * half :])
        source = join([pairs, odd], lambda planes: torch.cat(planes, -1)) if size % 2 else pairs
    return arrange(source, lambda plane: plane.squeeze(-1))


def arrange(source: Signal, move: Callable[[Tensor], Any]) -> Any:
    """Apply an operation that only moves, repeats or drops elements; a tuple of Signals where `move` gives several."""
    alive = move(source.alive)
    reach, shift = (None if plane is None else move(plane) for plane in (source.reach, source.shift))
    if isinstance(alive, Tensor):
        made = signal(reach, alive, origin=_moved(source.origin, move), shift=shift)
        return as_view(made, source, move) if share(alive, source.alive) else made
    reaches, shifts = ([None] * len(alive) if planes is None else planes for planes in (reach, shift))
    pieces = tuple(
        signal(r, a, origin=_moved(source.origin, lambda plane, at=at: move(plane)[at]), shift=s)
        for at, (r, a, s) in enumerate(zip(reaches, alive, shifts, strict=True))
    )
    for at, piece in enumerate(pieces):
        if share(piece.alive, source.alive):
            as_view(piece, source, lambda plane, at=at: move(plane)[at])
    return pieces

"""Writing in place: what is written into a Signal reaches all that share its memory.

Views are known by the memory of their planes, which are laid out as the tensors that they stand for.
"""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from prunemark.connectivity.signals import CannotFollowError, Signal, View, inward, outward


def as_view(made: Signal, source: Signal, move: Callable[[Tensor], Tensor] | None) -> Signal:
    """Note that `made` shares the memory of `source`: its elements are `move(source)`; None, that it perhaps does."""
    made.taken_from = View(source=source, move=move)
    source.views.append(weakref.ref(made))
    return made


def share(one: Tensor, other: Tensor) -> bool:
    """True if two tensors share memory."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def write(target: Signal, made: Signal) -> None:
    """Write `made` over `target`, and into everything that shares its memory.

    What perhaps shares it is marked as stale: `refuse_stale` refuses it.
    """
    unchanged = made.reach is target.reach and made.alive is target.alive and made.shift is target.shift
    target.reach, target.alive, target.origin, target.shift = made.reach, made.alive, made.origin, made.shift
    if unchanged:
        return
    base = target
    while base.taken_from is not None and base.taken_from.move is not None:
        base = base.taken_from.source
    places = _places(base, torch.arange(base.numel(), device=base.device).view(base.shape))
    where = next(at for member, at in places if member is target)
    for member, at in places:
        if member is not target:
            _overwrite(member, at, target, where, base.numel())
    known = [member for member, _ in places]
    for relative in _relatives(base):
        relative.stale = relative.stale or not any(relative is member for member in known)


def refuse_stale(value: Signal) -> None:
    """Let only those pass whose values are known.

    Raises:
        CannotFollowError: something was written that it may or may not share.
    """
    if value.stale:
        raise CannotFollowError(
            "topology cannot follow a tensor after another that may share its memory was changed in place, such as x "
            "after y = x.float(); y += 1; use the result of the change, or clone before it"
        )


def _living(source: Signal) -> list[Signal]:
    return [view for view in (reference() for reference in source.views) if view is not None]


def _places(source: Signal, at: Tensor) -> list[tuple[Signal, Tensor]]:
    """A Signal and the living views of it, each with the places of its elements in the memory."""
    found = [(source, at)]
    for view in _living(source):
        if view.taken_from is not None and view.taken_from.move is not None:
            found += _places(view, view.taken_from.move(at))
    return found


def _relatives(member: Signal) -> list[Signal]:
    """All that shares memory with a Signal, or perhaps does."""
    root = member
    while root.taken_from is not None:
        root = root.taken_from.source
    found = [root]
    for relative in found:
        found += _living(relative)
    return found


def _overwrite(member: Signal, at: Tensor, target: Signal, where: Tensor, size: int) -> None:
    written = torch.zeros(size, dtype=torch.bool, device=at.device)
    written[where] = True

    def merged(own: Tensor | None, new: Tensor | None) -> Tensor:
        own = torch.zeros_like(member.alive) if own is None else own
        new = torch.zeros_like(target.alive) if new is None else new
        everywhere = own.new_zeros(size).index_put((where.flatten(),), inward(new).flatten())
        return outward(torch.where(written[at], everywhere[at], inward(own)))

    if member.shift is not None or target.shift is not None:
        everywhere = torch.zeros(size, dtype=torch.float32, device=at.device)
        if target.shift is not None:
            everywhere[where.flatten()] = target.shift.flatten()
        own = torch.zeros_like(everywhere[at]) if member.shift is None else member.shift
        member.shift = torch.where(written[at], everywhere[at], own)
    alive = merged(member.alive, target.alive)
    if member.reach is not None or target.reach is not None:
        member.reach, member.alive = merged(member.reach, target.reach), alive.detach()
    else:
        member.alive = alive
    member.origin = None

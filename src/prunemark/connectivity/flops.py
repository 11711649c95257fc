"""Multiply-adds: which products weights take part in, and how many of their multiplications are by kept weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunemark.connectivity.signals import Computed, Ledger, Signal
from prunemark.masks import Masks


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Multiply-adds of one weight's products: with all, with the kept and with the effective weights."""

    dense: int = 0
    sparse: int = 0
    effective: int = 0


def note(
    ledger: Ledger, multiply: Callable[[Tensor, Tensor], Tensor], left: Signal, right: Signal, multiply_adds: int
) -> None:
    """Take note of a product: of a weight, of what is computed from weights, or of neither.

    Args:
        ledger: where to.
        multiply: the operation on planes; of ones, it gives numbers of multiplications.
        left, right: the factors.
        multiply_adds: of the dense product.
    """
    weights = [factor for factor in (left, right) if factor.reach is None and factor.alive.requires_grad]
    if not weights:
        ledger.other_multiply_adds += multiply_adds
        return
    if len(weights) == 2:
        planes = (left.alive, right.alive)
        ledger.computed.append(
            Computed(name=_first_behind(ledger, planes), planes=planes, count=multiply, dense=multiply_adds)
        )
        return
    (weight,) = weights
    each = multiply_adds // weight.numel()
    origin = weight.origin
    if origin is None or not origin.exact:
        name = _first_behind(ledger, (weight.alive,)) if origin is None else origin.name
        ledger.computed.append(
            Computed(name=name, planes=(weight.alive,), count=lambda plane: plane * each, dense=multiply_adds)
        )
    elif origin.whole:
        ledger.count(origin.name, each)
    else:
        numbers = origin.numbers().flatten().long()
        constant = numbers <= 0
        fixed = int(((numbers == 0) & (weight.alive.flatten() > 0)).sum())
        ledger.other_multiply_adds += each * fixed
        ledger.zeros[origin.name] = ledger.zeros.get(origin.name, 0) + each * (int(constant.sum()) - fixed)
        for name, places in ledger.elements(numbers[~constant]):
            counts = places.bincount(minlength=ledger.weights[name].numel())
            ledger.count(name, each * counts.view(ledger.weights[name].shape))


def _first_behind(ledger: Ledger, planes: Sequence[Tensor]) -> str:
    """The first of the weights that planes are computed from."""
    leaves = {id(plane) for plane in planes}
    seen = {plane.grad_fn for plane in planes}
    queue = list(seen)
    while queue:
        node = queue.pop()
        leaves.add(id(getattr(node, "variable", None)))
        following = {further for further, _ in getattr(node, "next_functions", ())} - seen
        seen |= following
        queue += following
    return next(name for name, leaf in ledger.weights.items() if id(leaf) in leaves)


def totals(ledger: Ledger, masks: Masks, effective: Mapping[str, Tensor], grads: Sequence[Tensor]) -> dict[str, Flops]:
    """The multiply-adds of each weight.

    Args:
        ledger: with what was noted.
        masks: True = kept.
        effective: per weight, what is kept and on a path.
        grads: of the planes of `ledger.computed`, one after the other; above 0 on a path.
    """
    found = {name: _of_elements(ledger, name, masks[name], effective[name]) for name in masks}
    left = iter(grads)
    for computed in ledger.computed:
        on_paths = [plane.detach() * (next(left) > 0) for plane in computed.planes]
        before = found[computed.name]
        found[computed.name] = Flops(
            dense=before.dense + computed.dense,
            sparse=before.sparse + _sum(computed.count(*(plane.detach() for plane in computed.planes))),
            effective=before.effective + _sum(computed.count(*on_paths)),
        )
    return found


def _of_elements(ledger: Ledger, name: str, mask: Tensor, effective: Tensor) -> Flops:
    counts = ledger.counts.get(name, 0)
    if isinstance(counts, int):
        dense, sparse, on_paths = (counts * int(kept) for kept in (mask.numel(), mask.sum(), effective.sum()))
    else:
        counts = counts.to(mask.device)
        dense, sparse, on_paths = (int(part.sum()) for part in (counts, counts[mask], counts[effective]))
    return Flops(dense=dense + ledger.zeros.get(name, 0), sparse=sparse, effective=on_paths)


def _sum(counts: Tensor) -> int:
    return round(float(counts.sum(dtype=torch.float64)))

"""Per-layer budgets: how many weights each layer keeps, adding up to an exact total."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prunemark.masks import Masks
from prunemark.pruning.layer_patterns import shares_by_pattern
from prunemark.registry import unknown
from prunemark.terms.quotas import QUOTAS, QuotaName, SparsityByPattern

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class LayerCounts:
    """How many weights each layer keeps after the last round."""

    kept: Mapping[str, int]


Quotas = QuotaName | Masks | SparsityByPattern
"""What may fix how many weights each layer keeps."""


def goal(rule: Quotas, shapes: Shapes, keep: int) -> QuotaName | Masks | LayerCounts:
    """The rule by which several rounds come to `keep` weights in the last.

    Raises:
        ValueError: as `quotas` raises it, of that round.
    """
    counts = quotas(rule, shapes, keep)
    return rule if isinstance(rule, str | Masks) else LayerCounts(counts)


def quotas(
    rule: Quotas | LayerCounts, shapes: Shapes, keep: int, *, caps: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Number of weights that each layer keeps: layer -> count, adding up to `keep` exactly.

    With n_l the number of weights of layer l, and d_l the density that it gets:

    - "uniform": the same d_l in every layer.
    - "uniform-plus": d = 1 in the first convolution, d >= 0.2 in the last layer, the same in the others
      (Gale et al. 2019, arXiv 1902.09574).
    - "erk": d_l proportional to (sum of the tensor's dimensions) / n_l; what full layers cannot take goes to
      the others (Evci et al. 2020, arXiv 1911.11134).
    - "igq": d_l = 1 / (1 + F n_l), one force F for all layers (Vysogorets & Kempe 2021, arXiv 2107.02306).
    - a `Masks`: as in these masks; on the way there in several rounds, their densities to a common power.
    - a mapping of patterns for layers' names to sparsities, {"stages.2.*": 0.95}: each layer that a pattern matches (as
      `fnmatch.fnmatchcase` has it) keeps round((1 - sparsity) * n_l), and the layers that none matches get the same
      d_l, so that the total is exact. Where all are matched, they are rounded together. `prunemark.prune` goes there in
      several rounds as for masks.

    Fractions are rounded by largest remainder, ties in the order of the layers.

    Args:
        rule: one of the names above, masks of the same layers, or sparsities by pattern.
        shapes: layer -> the shape of its weight tensor, in the order of the network.
        keep: how many weights to keep over all layers.
        caps: upper bounds of the counts, where fewer than all weights of a layer can be kept.

    Raises:
        ValueError: an unknown rule; masks of other layers; a pattern that matches no layer, a layer that several
            match; a count that does not fit.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    caps = sizes if caps is None else caps
    if not 0 <= keep <= sum(caps.values()):
        raise ValueError(f"cannot keep {keep:,} of {sum(caps.values()):,} weights")
    if isinstance(rule, Masks):
        ideal = _as_in(_counts_in(rule, sizes, keep), sizes, keep)
    elif isinstance(rule, LayerCounts):
        ideal = _as_in(rule.kept, sizes, keep)
    elif isinstance(rule, Mapping):
        ideal = shares_by_pattern(rule, sizes, keep)
    elif isinstance(rule, str) and rule in _QUOTA_RULES:  # pyright: ignore[reportUnnecessaryIsInstance]
        ideal = _QUOTA_RULES[rule](shapes, sizes, keep)
    else:
        raise ValueError(f"{unknown('quota rule', str(rule), QUOTAS)}; or give Masks, or sparsities by pattern")
    return _apportion(ideal, caps, keep)


def _uniform(shapes: Shapes, sizes: Mapping[str, int], keep: int) -> dict[str, float]:
    return _fill({name: float(size) for name, size in sizes.items()}, sizes, keep)


def _uniform_plus(shapes: Shapes, sizes: Mapping[str, int], keep: int) -> dict[str, float]:
    first = next((name for name, shape in shapes.items() if len(shape) > 2), None)
    last = list(shapes)[-1]
    fixed = {first: float(sizes[first])} if first is not None else {}
    others = {name: float(size) for name, size in sizes.items() if name not in fixed}
    if last in others and keep - sum(fixed.values()) < 0.2 * sum(others.values()):
        fixed[last] = 0.2 * others.pop(last)
    left = keep - sum(fixed.values())
    if left < 0:
        raise ValueError(
            f"uniform-plus keeps the first convolution and a fifth of the last layer, "
            f"{math.ceil(sum(fixed.values())):,} weights, but only {keep:,} are to be kept"
        )
    return fixed | _fill(others, sizes, left)


def _erk(shapes: Shapes, sizes: Mapping[str, int], keep: int) -> dict[str, float]:
    return _fill({name: float(sum(shape)) for name, shape in shapes.items()}, sizes, keep)


def _igq(shapes: Shapes, sizes: Mapping[str, int], keep: int) -> dict[str, float]:
    def kept(force: float) -> dict[str, float]:
        return {name: size / (1 + force * size) for name, size in sizes.items()}

    if keep in (0, sum(sizes.values())):
        return {name: float(size if keep else 0) for name, size in sizes.items()}
    # kept(F) falls with F and is below `keep` at F = layers / keep, since every layer then keeps less than 1 / F.
    low, high = 0.0, len(sizes) / keep
    for _ in range(200):
        middle = (low + high) / 2
        if sum(kept(middle).values()) > keep:
            low = middle
        else:
            high = middle
    return kept(high)


def _counts_in(masks: Masks, sizes: Mapping[str, int], keep: int) -> dict[str, int]:
    counts = {count.name: count for count in masks.layers()}
    if {name: count.total for name, count in counts.items()} != dict(sizes):
        raise ValueError("quotas must be masks of the same layers as the model's prunable weights")
    if keep < masks.kept:
        raise ValueError(f"these masks keep {masks.kept:,} weights, more than the {keep:,} that are to be kept")
    return {name: count.kept for name, count in counts.items()}


def _as_in(final: Mapping[str, int], sizes: Mapping[str, int], keep: int) -> dict[str, float]:
    """The final densities raised to one power: 1 for their own count, less in the rounds on the way there."""

    def kept(power: float) -> dict[str, float]:
        # 0 ** 0 is 1: a layer that ends without weights is full at the start and empty at power 1.
        return {name: size * (final[name] / size) ** power for name, size in sizes.items()}

    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if sum(kept(middle).values()) > keep:
            low = middle
        else:
            high = middle
    return kept(1.0) if keep == sum(final.values()) else kept(high)


_QUOTA_RULES: dict[str, Callable[[Shapes, Mapping[str, int], int], dict[str, float]]] = {
    "uniform": _uniform,
    "uniform-plus": _uniform_plus,
    "erk": _erk,
    "igq": _igq,
}


def _fill(weights: Mapping[str, float], sizes: Mapping[str, int], keep: float) -> dict[str, float]:
    """Share `keep` in proportion to the weights; what exceeds a layer's size goes to the others."""
    full: dict[str, float] = {}
    while True:
        open_ = {name: weight for name, weight in weights.items() if name not in full}
        scale = (keep - sum(full.values())) / sum(open_.values()) if open_ else 0.0
        over = [name for name, weight in open_.items() if scale * weight > sizes[name]]
        if not over:
            return full | {name: scale * weight for name, weight in open_.items()}
        full |= {name: float(sizes[name]) for name in over}


def _apportion(ideal: Mapping[str, float], caps: Mapping[str, int], keep: int) -> dict[str, int]:
    """Whole numbers near the ideal ones, at most the caps, that add up to `keep`."""
    # Bisection leaves 2.9999999 where 3 is meant.
    counts = {name: min(math.floor(ideal[name] + 1e-6), cap) for name, cap in caps.items()}
    by_remainder = sorted(caps, key=lambda name: counts[name] - ideal[name])
    while (missing := keep - sum(counts.values())) != 0:
        movable = [name for name in by_remainder if (counts[name] < caps[name] if missing > 0 else counts[name] > 0)]
        step = 1 if missing > 0 else -1
        for name in movable[: abs(missing)] if step == 1 else movable[::-1][: abs(missing)]:
            counts[name] += step
    return counts

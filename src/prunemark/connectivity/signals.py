"""Stand-in for a tensor of the forward pass: zeros and ones in place of its values.

Every tensor that depends on the input or on a masked weight is a `Signal`. It carries two planes of 0 and 1, in
float32, of its own shape:

    reach   1 where a path from the input arrives
    alive   1 where the value can differ from 0, be it only by a bias; what a product lets through is decided by the
            other factor's alive plane

Sums of zeros and ones are cut back to zeros and ones after every operation, forward and backward, so that nothing can
overflow or vanish, however deep the network is.

Where a causal mask or the like was added, a third plane holds what was: `shift`, since a softmax gives 0 to what was
shifted far below its neighbours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor

# A shift so far below its neighbours that exp of it is 0: minus infinity, -1e9, or BERT's -10,000. It stands for that
# only as long as what is shifted is itself small beside it.
FAR = 1e4


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The masked weights that a tensor's elements are elements of, in their order or any other.

    Attributes:
        name: of the weight; of several, the first.
        numbers: gives for each element the place of the weight's element, counted through all weights from 1 in the
            order of `Ledger.weights`; 0 for constants, negative where a constant factor is 0. Float64, which every
            function that moves elements takes.
        whole: whether the tensor is the weight as it is.
        exact: whether elements are 0 where the weight is pruned, and nowhere else but at constants.
    """

    name: str
    numbers: Callable[[], Tensor]
    whole: bool = False
    exact: bool = True


class CannotFollowError(ValueError):
    """The model does something that paths cannot be followed through."""


class Signal(Tensor):
    """A tensor of the forward pass with its planes; made by `signal`.

    `reach` is None for what does not depend on the input: masked weights and what is computed from them alone. Their
    `alive` plane is the mask and carries the gradient to it. `taken_from` and `views` say which other Signals share its
    memory; it is `stale` once something was written that it may or may not share. `shift` are the constants that were
    put in its place or added to it, float32 of its shape; None where all are small or not known.
    """

    reach: Tensor | None
    alive: Tensor
    origin: Origin | None
    shift: Tensor | None
    taken_from: "View | None"
    views: "list[ReferenceType[Signal]]"
    stale: bool

    @property
    def is_tracked(self) -> bool:
        """True if it depends on the input or on a masked weight; others are constants, as parameters without masks."""
        return self.reach is not None or self.alive.requires_grad


@dataclass(frozen=True, kw_only=True)
class View:
    """Base of a Signal that is a view, and how its elements are picked; None: whether they share memory is unknown."""

    source: Signal
    move: Callable[[Tensor], Tensor] | None


def signal(
    reach: Tensor | None,
    alive: Tensor,
    *,
    origin: Origin | None = None,
    shift: Tensor | None = None,
    like: Tensor | None = None,
) -> Signal:
    """A Signal of these planes; `like` gives it another data type, as of token ids."""
    base = like if like is not None else alive if reach is None else reach
    made = base.detach().as_subclass(Signal)
    made.reach = reach
    made.alive = alive if reach is None else alive.detach()
    made.origin, made.shift = origin, shift
    made.taken_from, made.views, made.stale = None, [], False
    return made


def as_signal(value: Any, device: torch.device) -> Signal:
    """A Signal as it is; of a constant tensor or number, one that no path reaches, alive where it is not 0."""
    if isinstance(value, Signal):
        return value
    numbers = torch.as_tensor(value, device=device)
    large = not numbers.is_complex() and bool((numbers.abs() >= FAR).any()) if numbers.dtype != torch.bool else False
    return signal(None, (numbers != 0).float(), shift=numbers.float() if large else None)


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A product with what is computed from weights, or of two weights.

    Attributes:
        name: of the first weight behind it, for which it counts.
        planes: alive, of one factor or both; they carry gradients to masks.
        count: of planes, numbers of multiply-adds by what is alive, to be summed.
        dense: multiply-adds if everything is alive.
    """

    name: str
    planes: tuple[Tensor, ...]
    count: Callable[..., Tensor]
    dense: int


@dataclass
class Ledger:
    """Everything that a run through the network finds out beside gradients.

    Attributes:
        weights: the alive planes of masked weights: leaves of gradients, by name.
        inputs: the reach planes that everything starts from.
        used: per weight, which of its units something reads through a kept weight (or as an output).
        seen: per weight, the units of which `used` tells.
        counts: per weight, in how many multiply-adds each element is; one number if in as many.
        zeros: per weight, the multiply-adds of the dense product by what is always 0 in its place, as in tril.
        computed: products with what is computed from weights.
        other_multiply_adds: of products without a masked weight.
        one_step: while set, the backward pass looks no further than the next weights.
    """

    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    inputs: list[Tensor] = field(default_factory=list[Tensor])
    used: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    seen: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    counts: dict[str, int | Tensor] = field(default_factory=dict[str, "int | Tensor"])
    zeros: dict[str, int] = field(default_factory=dict[str, int])
    computed: list[Computed] = field(default_factory=list[Computed])
    other_multiply_adds: int = 0
    one_step: bool = False

    def weight(self, name: str, mask: Tensor) -> Signal:
        """A masked weight; `mask` is True where it is kept."""
        first = 1 + sum(leaf.numel() for leaf in self.weights.values())
        leaf = self.weights[name] = mask.to(torch.float32).requires_grad_()

        def numbers() -> Tensor:
            return torch.arange(first, first + leaf.numel(), dtype=torch.float64, device=leaf.device).view(leaf.shape)

        return signal(None, leaf, origin=Origin(name=name, numbers=numbers, whole=True))

    def elements(self, numbers: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Map element numbers (from 1) to the weights that hold them and the positions in those weights (from 0)."""
        if not len(numbers):
            return
        first, least, most = 1, int(numbers.min()), int(numbers.max())
        for name, leaf in self.weights.items():
            last = first + leaf.numel() - 1
            if least <= last and first <= most:
                yield name, numbers[(numbers >= first) & (numbers <= last)] - first
            first = last + 1

    def count(self, name: str, each: int | Tensor) -> None:
        """Note in how many more multiply-adds each element of a weight is."""
        self.counts[name] = self.counts.get(name, 0) + each

    def input(self, shape: torch.Size, device: torch.device) -> Tensor:
        """The reach plane of an input: all ones, and the leaf of a gradient."""
        leaf = torch.ones(shape, dtype=torch.float32, device=device, requires_grad=True)
        self.inputs.append(leaf)
        return leaf

    def record(self, origin: Origin, unit_axis: int, used: Tensor) -> None:
        """Note which units of a weight the backward pass found in use, if they can be told."""
        units = used.movedim(unit_axis, 0).flatten(1).any(1)
        if origin.whole:
            self._record(origin.name, torch.arange(len(units), device=units.device), units, len(units))
            return
        numbers = origin.numbers()
        numbers = numbers.reshape(len(numbers), -1).abs().long()
        for name, _ in self.elements(numbers[numbers > 0]):
            leaf = self.weights[name]
            rows = (numbers - self._first(name)).div(leaf[0].numel(), rounding_mode="floor")
            rows = torch.where(numbers > 0, rows, rows.amax(1, keepdim=True))
            own = (rows == rows[:, :1]).all(1) & (rows[:, 0] >= 0) & (rows[:, 0] < len(leaf)) & (numbers > 0).any(1)
            self._record(name, rows[own, 0], units[own], len(leaf))

    def _first(self, name: str) -> int:
        first = 1
        for other, leaf in self.weights.items():
            if other == name:
                break
            first += leaf.numel()
        return first

    def _record(self, name: str, rows: Tensor, used: Tensor, units: int) -> None:
        for marks, values in ((self.used, used), (self.seen, torch.ones_like(used))):
            so_far = marks.setdefault(name, torch.zeros(units, dtype=torch.bool, device=used.device))
            so_far[rows[values]] = True


# Which units were in use -> the gradient that is passed on towards the input.
Meter = Callable[[Tensor], Tensor]


def inward(plane: Tensor, threshold: float = 0.0) -> Tensor:
    """The plane itself; its gradient is cut to 0 and 1."""
    return _Inward.apply(plane, threshold) if plane.requires_grad else plane


def outward(plane: Tensor, threshold: float = 0.0, meter: Meter | None = None) -> Tensor:
    """The plane cut to 0 and 1; so is its gradient, or as the meter says."""
    return _Outward.apply(plane, threshold, meter)


class _Inward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plane: Tensor, threshold: float) -> Tensor:
        ctx.threshold = threshold
        return plane.view_as(plane)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (grad > ctx.threshold).to(grad.dtype), None


class _Outward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plane: Tensor, threshold: float, meter: Meter | None) -> Tensor:
        ctx.meter = meter
        return (plane > threshold).to(plane.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        used = grad > 0
        if ctx.meter is not None:
            used = ctx.meter(used)
        return used.to(grad.dtype), None, None

"""Engines take the steps of training. An engine decides how they are computed, never which: that is the loop's part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prunemark.registry import Entry, find

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from prunemark.datasets import Split
    from prunemark.recipes import Recipe
    from prunemark.training.checkpoint import Checkpoint
    from prunemark.training.evaluation import Evaluation
    from prunemark.training.mixing import Targets


class Engine(Protocol):
    """One training of one model, from a state on, under masks.

    Every engine takes the same steps, up to the rounding of its sums: those of the recipe's optimizer on its loss. Of
    the usual recipe these are g = dL/dw + weight_decay * w, v = momentum * v + g, w = w - lr * v, with L the mean
    cross-entropy of the batch; an engine that takes no others refuses recipes that are `Recipe.beyond_sgd`. Pruned
    weights and their optimizer's state are exactly 0 from the beginning, in the model and in every checkpoint.
    """

    @property
    def memory_format(self) -> "torch.memory_format":
        """Layout in which images come in fastest."""
        ...

    @property
    def draws(self) -> bool:
        """Whether a step may draw from the global generators, as dropout does."""
        ...

    def step(self, images: "Tensor", targets: "Targets", lr: float) -> "Tensor":
        """Take one step and return its loss, as it was before the step; a scalar that need not be computed yet.

        Where the loss is not finite, the step may be left out. The loop stops training then, at most one step later.

        Args:
            images: (B, C, H, W) on the engine's device, augmented.
            targets: class numbers (B,), there too; of mixed examples, both.
            lr: the step's learning rate.
        """
        ...

    def step_on(self, inputs: "Tensor", targets: "Tensor", places: "Tensor", lr: float) -> "Tensor":
        """As `step` on inputs[places] and targets[places], bit for bit.

        Args:
            inputs, targets: of the whole training set, on the engine's device.
            places: numbers of the batch's examples (B,), there too.
            lr: the step's learning rate.
        """
        ...

    def evaluate(self, split: "Split") -> "Evaluation":
        """Accuracy and loss of the model as it is now; changes nothing that training continues from."""
        ...

    def checkpoint(self, step: int) -> "Checkpoint":
        """A copy of the state as it is now, after this many steps, counted from the beginning of the schedule."""
        ...

    def close(self) -> None:
        """End training: the model holds the state, contiguous, in the mode (train or eval) in which it came."""
        ...


AUTO = "auto"
"""Stands for the sparse engine where it pays, and for the dense one elsewhere."""

WITHOUT_KERNELS = 'the sparse engine needs its kernels: `pip install ./kernels`, or engine = "dense"'

MakeEngine = Callable[
    ["nn.Module", "Recipe", Mapping[str, "Tensor"], "Checkpoint | None", "torch.device"],
    Engine,
]
"""(model, recipe, masks or {}, state to continue from or None, device) -> engine.

Raises ValueError for masks or a state that are of another model.
"""

ENGINES: dict[str, Entry] = {
    "dense": Entry(
        target="prunemark.training.engines.dense:DenseEngine",
        summary="PyTorch on whole weights, with pruned ones held at 0; any model, any device",
    ),
    "sparse": Entry(
        target="prunemark.training.engines.sparse:SparseEngine",
        summary="C++ kernels that touch only kept weights; feed-forward networks of common layers, on a CPU",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Started:
    """The engine of one training, ready for its first step.

    Attributes:
        engine: it.
        name: its name in ENGINES.
        reason: why "auto" stands for that one, in a sentence; empty where it was asked for by name.
    """

    engine: Engine
    name: str
    reason: str = ""


def start_engine(
    name: str,
    model: "nn.Module",
    recipe: "Recipe",
    masks: Mapping[str, "Tensor"],
    start: "Checkpoint | None",
    device: "torch.device",
    *,
    data: "Split",
) -> Started:
    """Start the engine of that name; of "auto", sparse where that can train the model and is faster, else dense.

    What "auto" is depends on the arguments and on whether the kernels are installed, never on a measurement: equal
    trainings on one machine have equal engines.

    Args:
        data: the training examples; of their inputs the shape counts, of their targets what they are.

    The other arguments are those of `MakeEngine`.

    Raises:
        ValueError: an unknown name, an engine that cannot train the model, or masks or a state of another model.
    """
    no_classes = _no_class_numbers(data.targets)
    if name != AUTO:
        make: MakeEngine = find(ENGINES, "engine", name).load()
        if name == "sparse" and no_classes:
            raise ValueError(f"the sparse engine cannot train the model: {no_classes}")
        return Started(engine=make(model, recipe, masks, start, device), name=name)
    from prunemark.training.engines.sparse import SparseEngine, UnsupportedError, why_dense

    input_shape = tuple(data.inputs.shape[1:])
    reason = no_classes or why_dense(model, recipe, masks, input_shape, device)
    if not reason:
        try:
            sparse = SparseEngine(model, recipe, masks, start, device)
            built = sparse.built_for(input_shape)
        except UnsupportedError as error:
            reason = str(error)
        else:
            share = built.multiplications / built.dense_multiplications
            return Started(engine=sparse, name="sparse", reason=f"the masks leave {share:.1%} of the multiplications")
    dense: MakeEngine = ENGINES["dense"].load()
    return Started(engine=dense(model, recipe, masks, start, device), name="dense", reason=reason)


def require_engine(name: str) -> None:
    """Raise ValueError unless trainings can ask for an engine of that name here."""
    if name != AUTO:
        find(ENGINES, "engine", name)
    if name == "sparse":
        from prunemark.training.engines.sparse import available_kernels

        if not available_kernels():
            raise ValueError(WITHOUT_KERNELS)


def _no_class_numbers(targets: "Tensor") -> str:
    """Why targets are not what the sparse engine's cross-entropy takes; empty if they are."""
    import torch

    if targets.dtype == torch.int64 and targets.ndim == 1:
        return ""
    kind = str(targets.dtype).removeprefix("torch.")
    return f"its cross-entropy takes one class number (int64) per example, not {kind} of shape {tuple(targets.shape)}"

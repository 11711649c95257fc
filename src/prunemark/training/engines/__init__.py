"""Engines take the steps of training. An engine decides how they are computed, never which: that is the loop's part."""

from collections.abc import Callable, Mapping
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

    def step(self, images: "Tensor", targets: "Targets", lr: float) -> "Tensor":
        """Take one step and return its loss, as it was before the step; a scalar that need not be computed yet.

        Where the loss is not finite, the step may be left out. The loop stops training then, at most one step later.

        Args:
            images: (B, C, H, W) on the engine's device, augmented.
            targets: class numbers (B,), there too; of mixed examples, both.
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


def choose(name: str) -> tuple[str, MakeEngine]:
    """The engine of that name, or for "auto" the dense one; its name and what makes it.

    "auto" will be whichever is faster once whole trainings of both are shown to agree; until then no number depends on
    what is installed.

    Raises:
        ValueError: an unknown name.
    """
    name = "dense" if name == "auto" else name
    return name, find(ENGINES, "engine", name).load()

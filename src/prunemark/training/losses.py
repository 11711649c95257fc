"""Losses of training, on a batch and summed over a test set."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from prunemark.own_code import OwnCode, explained, is_own_code, short_name
from prunemark.recipes import Recipe
from prunemark.training.mixing import Mixed, Targets


class Loss(Protocol):
    """A loss: on a batch to train on its mean, on a batch to evaluate its sum over the examples."""

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised, a scalar."""
        ...

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over the examples of what is reported, a scalar: without label smoothing."""
        ...


class CrossEntropy:
    """-log softmax(outputs)[target]; training spreads `smoothing` of each target evenly over the classes.

    Of a class per pixel it is the mean over pixels, of a token per place the mean over places; the total counts each
    mean once per example.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        self._smoothing = smoothing

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised."""
        return F.cross_entropy(*_by_class(outputs, targets), label_smoothing=self._smoothing)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The plain cross-entropy."""
        per_example = max(1, targets.numel() // max(1, len(targets)))
        return F.cross_entropy(*_by_class(outputs, targets), reduction="sum") / per_example


class MeanSquare:
    """The mean of (outputs - targets)^2 over all outputs; the target of a class is a vector of zeros and a one."""

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised."""
        if not targets.is_floating_point():
            outputs, targets = _by_class(outputs, targets)
            targets = F.one_hot(targets, outputs.shape[1]).movedim(-1, 1).to(outputs.dtype)
        if targets.shape != outputs.shape:
            raise ValueError(
                f"mse needs outputs of the targets' shape {tuple(targets.shape)}, not {tuple(outputs.shape)}"
            )
        return F.mse_loss(outputs, targets)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean, once per example."""
        return self.mean(outputs, targets) * len(targets)


class OwnLoss:
    """A user's function of outputs and targets, the mean over a batch."""

    def __init__(self, name: str) -> None:
        self._name = short_name(name)
        self._function = OwnCode.find(name).load()

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised."""
        with explained(self._name):
            loss = self._function(outputs, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            shown = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(f"{self._name} must return one real number as a tensor, not {shown}")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError(f"{self._name} returned a loss that does not depend on the outputs")
        return loss.reshape(())

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean, once per example."""
        return self.mean(outputs, targets) * len(targets)


def _by_class(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and targets as torch's cross-entropy takes them: of tokens (N, T), outputs (N, T, tokens) by place.

    Raises:
        ValueError: outputs of another shape.
    """
    if targets.is_floating_point():
        raise ValueError("cross-entropy needs classes or tokens as targets, not real numbers: the loss of those is mse")
    if targets.ndim != 2:
        return outputs, targets
    if outputs.ndim != 3 or outputs.shape[:2] != targets.shape:
        raise ValueError(
            f"the outputs for tokens (N, T) = {tuple(targets.shape)} must be (N, T, tokens), not {tuple(outputs.shape)}"
        )
    return outputs.flatten(0, 1), targets.flatten()


def make_loss(recipe: Recipe) -> Loss:
    """The loss of a recipe.

    Raises:
        ValueError: a user's file that fails to be imported.
    """
    if is_own_code(recipe.loss):
        return OwnLoss(recipe.loss)
    return MeanSquare() if recipe.loss == "mse" else CrossEntropy(recipe.label_smoothing)


def batch_loss(loss: Loss, outputs: Tensor, targets: Targets) -> Tensor:
    """The loss of a batch, whose examples may be mixed."""
    if not isinstance(targets, Mixed):
        return loss.mean(outputs, targets)
    first, second = (loss.mean(outputs, each) for each in (targets.first, targets.second))
    return targets.share * first + (1 - targets.share) * second

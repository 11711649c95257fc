"""Accuracy and loss on a data set."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunemark.datasets import SplitInputs
from prunemark.training.losses import CrossEntropy, Loss

# Large enough to keep a processor busy, small enough for the activations of a wide network on 64x64 images.
_BATCH = 250


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Top-1 accuracy, a fraction in [0, 1], mean loss, and which examples were right, boolean (N,).

    Where an example has a class per pixel or a token per place, accuracy is the share of all those that are right, and
    `correct` is None. Accuracy is NaN of regression, and where there are fewer outputs than classes, as one per example
    that only a loss of the user's can read.
    """

    accuracy: float
    loss: float
    correct: Tensor | None


_CROSS_ENTROPY = CrossEntropy()


def evaluate(model: nn.Module, inputs: SplitInputs, targets: Tensor, loss: Loss = _CROSS_ENTROPY) -> Evaluation:
    """Top-1 accuracy and mean loss of a model, in eval mode, on its own device.

    Args:
        model: maps (N, ...) to what its task asks for, logits (N, classes) for one; its train or eval mode is left as
            found.
        inputs: (N, ...), on any device; lazy ones too.
        targets: class numbers (N,), or those of another task, see `prunemark.terms.tasks`.
        loss: by default cross-entropy.

    Raises:
        ValueError: there are no examples, or outputs of another shape than their task's.
    """
    if not len(inputs):
        raise ValueError("there are no examples to evaluate on")
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    right: list[Tensor] = []
    losses: list[Tensor] = []
    outputs = 0
    # Not inference_mode: what a model keeps of this call, a cache of positions say, must be fit to be trained with.
    with torch.no_grad():
        for batch, labels in zip(inputs.split(_BATCH), targets.split(_BATCH), strict=True):
            labels = labels.to(device)
            # A copy: some models write into their inputs, and batches are views of the caller's examples.
            logits = model(batch.to(device, copy=True))
            if not labels.is_floating_point():
                # Of tokens (N, T), classes are the last axis.
                classes = 2 if labels.ndim == 2 else 1
                outputs = logits.shape[classes]
                chosen = logits.argmax(classes)
                if chosen.shape != labels.shape:
                    # A loss of the user's may take them; compared as they are, they would be broadcast.
                    raise ValueError(
                        f"accuracy needs one output per class of each target: outputs {tuple(logits.shape)} do not "
                        f"fit targets {tuple(labels.shape)}"
                    )
                right.append(chosen == labels)
            losses.append(loss.total(logits, labels))
        total = torch.stack(losses).double().sum()
    model.train(training)
    loss_mean = total.item() / len(inputs)
    if not right:
        return Evaluation(accuracy=math.nan, loss=loss_mean, correct=None)
    correct = torch.cat(right).cpu()
    if int(targets.max()) >= outputs:
        return Evaluation(accuracy=math.nan, loss=loss_mean, correct=None)
    accuracy = int(correct.sum()) / correct.numel()
    return Evaluation(accuracy=accuracy, loss=loss_mean, correct=correct if correct.ndim == 1 else None)

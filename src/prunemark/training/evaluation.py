"""Accuracy and loss on a data set."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunemark.datasets import SplitInputs
from prunemark.training.losses import CrossEntropy, Loss

# Large enough to keep a processor busy, small enough for the activations of a wide network on 64x64 images.
_BATCH = 250


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Top-1 accuracy, a fraction in [0, 1], mean loss, and which examples were right, boolean (N,)."""

    accuracy: float
    loss: float
    correct: Tensor


_CROSS_ENTROPY = CrossEntropy()


def evaluate(model: nn.Module, inputs: SplitInputs, targets: Tensor, loss: Loss = _CROSS_ENTROPY) -> Evaluation:
    """Top-1 accuracy and mean loss of a model, in eval mode, on its own device.

    Args:
        model: maps (N, ...) to logits (N, classes); its train or eval mode is left as found.
        inputs: (N, ...), on any device; lazy ones too.
        targets: class numbers (N,).
        loss: by default cross-entropy.

    Raises:
        ValueError: there are no examples.
    """
    if not len(inputs):
        raise ValueError("there are no examples to evaluate on")
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    right: list[Tensor] = []
    losses: list[Tensor] = []
    # Not inference_mode: what a model keeps of this call, a cache of positions say, must be fit to be trained with.
    with torch.no_grad():
        for batch, labels in zip(inputs.split(_BATCH), targets.split(_BATCH), strict=True):
            labels = labels.to(device)
            # A copy: some models write into their inputs, and batches are views of the caller's examples.
            logits = model(batch.to(device, copy=True))
            right.append(logits.argmax(1) == labels)
            losses.append(loss.total(logits, labels))
        total = torch.stack(losses).double().sum()
    model.train(training)
    correct = torch.cat(right).cpu()
    return Evaluation(accuracy=int(correct.sum()) / len(inputs), loss=total.item() / len(inputs), correct=correct)

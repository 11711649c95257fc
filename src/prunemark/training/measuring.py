"""A user's metric on a test set."""

import torch
from torch import Tensor, nn

from prunemark.datasets import Split
from prunemark.own_code import OwnCode, explained, short_name

_BATCH = 250


def measure(model: nn.Module, split: Split, name: str) -> float:
    """What "FILE.py:metric" returns, called as metric(outputs, targets) with those of all examples, on the CPU.

    Args:
        model: on any device; evaluated in eval mode, and left in the mode it was in.
        split: the examples.
        name: "FILE.py:metric".

    Raises:
        ValueError: the file or function fails, or returns no number.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    with torch.no_grad():
        outputs: list[Tensor] = [model(batch.to(device, copy=True)).cpu() for batch in split.inputs.split(_BATCH)]
    model.train(training)
    with explained(short_name(name)):
        value = OwnCode.find(name).load()(torch.cat(outputs), split.targets.cpu())
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{short_name(name)} must return a number, not {value!r}") from None

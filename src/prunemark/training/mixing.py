"""Mixup: batches of examples mixed in pairs (Zhang et al. 2018, arXiv 1710.09412)."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from prunemark.randomness import derive, generator


@dataclass(frozen=True, eq=False)
class Mixed:
    """The targets of a batch of mixed examples: `share` of `first` and the rest of `second`, (B, ...) each."""

    first: Tensor
    second: Tensor
    share: float

    def __len__(self) -> int:
        return len(self.first)


Targets = Tensor | Mixed


def mix(inputs: Tensor, targets: Tensor, alpha: float, *, seed: int, epoch: int, position: int) -> tuple[Tensor, Mixed]:
    """Mix each example of a batch with another one, in one proportion m drawn from Beta(alpha, alpha).

    The draws depend on the seed and the batch's place, `position` in an epoch, alone.

    Args:
        inputs: (B, ...) of floating point.
        targets: (B, ...).
        alpha: above 0.

    Returns:
        m * inputs + (1 - m) * (the partners' inputs), and both targets.
    """
    share = random.Random(derive(seed, "mixup", epoch, position)).betavariate(alpha, alpha)
    partners = torch.randperm(len(inputs), generator=generator(seed, "mixup partners", epoch, position))
    partners = partners.to(inputs.device)
    return share * inputs + (1 - share) * inputs[partners], Mixed(targets, targets[partners], share)

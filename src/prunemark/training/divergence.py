"""Losses that are not finite, found without making an accelerator wait."""

import math

import torch
from torch import Tensor


class LossWatch:
    """Finds the first loss that is not finite, at most one step after it.

    A CUDA device computes behind the program that drives it, so the loss of a step is read when the next one has been
    handed over; on any other device at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._behind = device.type == "cuda"
        self._read: tuple[int, Tensor, torch.cuda.Event] | None = None

    def first_bad(self, step: int, loss: Tensor, *, wait: bool) -> int | None:
        """The number of the first step whose loss is not finite, as far as is known now.

        Args:
            step: the number of the step that was taken, counted up by one with each call.
            loss: its loss, a scalar.
            wait: until this loss is known, too.
        """
        before, self._read = self._read, None
        if before is not None:
            number, value, computed = before
            computed.synchronize()
            if not math.isfinite(value.item()):
                return number
        if wait or not self._behind:
            return None if math.isfinite(loss.item()) else step
        value = torch.empty((), dtype=loss.dtype, pin_memory=True).copy_(loss, non_blocking=True)
        computed = torch.cuda.Event()
        computed.record()
        self._read = step, value, computed
        return None

"""The moving average of a model's weights while it trains."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prunemark.models.zeroing import zero_pruned_


class WeightAverage:
    """a = d * a + (1 - d) * w after each step, beginning as the weights after the first one; BatchNorm statistics too.

    What is no floating-point number, a counter say, is that of the model. A weight that is 0 at all steps is exactly 0
    in the average. Reference: torch.optim.swa_utils.AveragedModel, which begins so, too.

    Args:
        model: whose state dict is averaged.
        decay: d, in (0, 1).
        start: an average to continue from; none where it is empty.
        kept_bits: of masked parameters, see `prunemark.models.zeroing`.

    Raises:
        ValueError: the average to continue from is of another model.
    """

    def __init__(
        self, model: nn.Module, decay: float, start: Mapping[str, Tensor], kept_bits: Mapping[str, Tensor]
    ) -> None:
        self._model, self._decay = model, decay
        self._average: dict[str, Tensor] = {}
        if start:
            now = model.state_dict()
            if {name: tensor.shape for name, tensor in start.items()} != {n: t.shape for n, t in now.items()}:
                raise ValueError("the checkpoint's average is of another model")
            self._average = {name: torch.empty_like(tensor).copy_(start[name]) for name, tensor in now.items()}
            # A parameter that modules share has several names in a state dict.
            named = dict(model.named_parameters(remove_duplicate=False))
            bits = {id(named[name]): each for name, each in kept_bits.items()}
            for name in named.keys() & now.keys():
                if id(named[name]) in bits:
                    zero_pruned_(self._average[name], bits[id(named[name])])

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model as it is after a step."""
        now = self._model.state_dict()
        if not self._average:
            self._average = {name: tensor.clone() for name, tensor in now.items()}
            return
        for name, tensor in now.items():
            if tensor.is_floating_point():
                self._average[name].lerp_(tensor, 1 - self._decay)
            else:
                self._average[name].copy_(tensor)

    @contextmanager
    def shown(self) -> Generator[None]:
        """The model holds the average within."""
        own = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        self.show()
        try:
            yield
        finally:
            self._give(own)

    def show(self) -> None:
        """Give the model the average, for good; nothing happens before the first step."""
        self._give(self._average)

    def state(self) -> dict[str, Tensor]:
        """The average, by the names of the model's state dict; empty before the first step."""
        return self._average

    @torch.no_grad()
    def _give(self, values: Mapping[str, Tensor]) -> None:
        now = self._model.state_dict()
        for name, value in values.items():
            now[name].copy_(value)

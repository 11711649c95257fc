"""Gradients of many parameters in one piece of memory, so that masking them is one launch on an accelerator."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunemark.models.zeroing import bits_like

_ALIGNED = 64  # numbers


class FlatGradients:
    """Gradients that lie in one flat tensor per dtype, as views of which the parameters hold them.

    Backward passes add to them in place, so `reset` comes before each. Parameters without a gradient are left out: an
    optimizer passes over those, and would not over zeros.

    Args:
        parameters: by name; those that have a gradient now are followed, and keep it.
        kept_bits: of masked ones, see `prunemark.models.zeroing`.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], kept_bits: Mapping[str, Tensor]) -> None:
        self._followed = {name: parameter for name, parameter in parameters.items() if parameter.grad is not None}
        self._flat: list[tuple[Tensor, Tensor]] = []
        for dtype in {parameter.dtype for parameter in self._followed.values()}:
            group = {name: parameter for name, parameter in self._followed.items() if parameter.dtype == dtype}
            starts: dict[str, int] = {}
            total = 0
            for name, parameter in group.items():
                starts[name] = total
                total += -(-parameter.numel() // _ALIGNED) * _ALIGNED
            values = torch.zeros(total, dtype=dtype, device=next(iter(group.values())).device)
            bits = bits_like(torch.full((total,), -1, dtype=torch.int8), values)
            for name, parameter in group.items():
                assert parameter.grad is not None
                view = values.as_strided(parameter.size(), parameter.stride(), starts[name])
                view.copy_(parameter.grad)
                parameter.grad = view
                if name in kept_bits:
                    bits.as_strided(parameter.size(), parameter.stride(), starts[name]).copy_(kept_bits[name])
            self._flat.append((values, bits))

    def __contains__(self, name: str) -> bool:
        return name in self._followed

    def reset(self) -> None:
        """Set all gradients to 0."""
        for values, _ in self._flat:
            values.zero_()

    def zero_pruned_(self) -> None:
        """Set the gradients of pruned weights to +0, whatever they are."""
        for values, bits in self._flat:
            values.view(bits.dtype).bitwise_and_(bits)

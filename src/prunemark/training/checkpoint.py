"""A state of training on disk: safetensors, written atomically."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from prunemark.artifacts import write_atomically

_FORMAT = "prunemark.checkpoint/1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that training needs in order to go on from a step.

    Attributes:
        step: optimizer steps taken so far.
        model: the model's state dict, BatchNorm statistics and their counters included; contiguous, on the CPU.
        momentum: SGD's momentum buffers by parameter name; empty at step 0 and without momentum.
    """

    step: int
    model: dict[str, Tensor]
    momentum: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @classmethod
    def capture(cls, model: nn.Module, *, step: int = 0, momentum: Mapping[str, Tensor] | None = None) -> Self:
        """The state of a model now, copied, so that training on does not change it."""
        return cls(step=step, model=_copied(model.state_dict()), momentum=_copied(momentum or {}))

    def save(self, path: str | Path) -> None:
        """Write the checkpoint; whatever happens, the path holds either the old file or the whole new one.

        Raises:
            OSError: the folder cannot be written to.
        """
        tensors = {f"model/{name}": tensor for name, tensor in self.model.items()}
        tensors |= {f"momentum/{name}": tensor for name, tensor in self.momentum.items()}
        write_atomically(path, save(tensors, {"format": _FORMAT, "step": str(self.step)}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a checkpoint that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, or not a checkpoint.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no checkpoint {path}")
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "momentum": {}}
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise ValueError(f"{path} is a safetensors file, but not a prunemark checkpoint")
                for key in file.keys():  # noqa: SIM118  # the file is not iterable
                    part, _, name = key.partition("/")
                    parts[part][name] = file.get_tensor(key)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
        return cls(step=int(metadata["step"]), **parts)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }

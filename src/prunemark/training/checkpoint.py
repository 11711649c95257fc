"""A state of training on disk: safetensors, written atomically."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor, nn

from prunemark.artifacts import Format, Place, Written, plain_copies, read_artifact, write_artifact

_FORMAT = Format("checkpoint", "prunemark.checkpoint/1")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that training needs in order to continue from a step.

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
        return cls(step=step, model=plain_copies(model.state_dict()), momentum=plain_copies(momentum or {}))

    def save(self, path: Place) -> Written:
        """Write the checkpoint; whatever happens, the path holds either the old file or the whole new one.

        Returns:
            The file's digest and size.

        Raises:
            OSError: the folder cannot be written to.
        """
        tensors = {f"model/{name}": tensor for name, tensor in self.model.items()}
        tensors |= {f"momentum/{name}": tensor for name, tensor in self.momentum.items()}
        return write_artifact(path, _FORMAT, tensors, {"step": str(self.step)})

    @classmethod
    def load(cls, path: Place, *, digest: str | None = None) -> Self:
        """Read a checkpoint that `save` wrote.

        Args:
            path: where it is.
            digest: the SHA-256 (hex) that it was written with, where that is known.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, or not a checkpoint, or not the one that was written.
        """
        artifact = read_artifact(path, _FORMAT, digest=digest)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "momentum": {}}
        with artifact.explained():
            for key, tensor in artifact.tensors.items():
                part, _, name = key.partition("/")
                parts[part][name] = tensor
            return cls(step=int(artifact.texts["step"]), **parts)

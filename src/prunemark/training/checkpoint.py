"""A state of training on disk: safetensors, written atomically."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor, nn

from prunemark.artifacts import Format, Place, Written, plain_copies, read_artifact, write_artifact

_FORMAT = Format("checkpoint", "prunemark.checkpoint/1")
_PARTS = ("model", "momentum", "optimizer", "average")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that training needs in order to continue from a step.

    Attributes:
        step: optimizer steps taken so far.
        model: the model's state dict, BatchNorm statistics and their counters included; contiguous, on the CPU.
        momentum: SGD's momentum buffers by parameter name; empty at step 0 and without momentum.
        optimizer: the state of another optimizer, "OPTIMIZER/STATE/PARAMETER" -> tensor.
        average: the moving average of the model's state dict, where the recipe has one and a step was taken.
        afresh: the optimizer begins anew at this step; only of a state in memory.
    """

    step: int
    model: dict[str, Tensor]
    momentum: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    optimizer: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    average: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    afresh: bool = False

    @classmethod
    def capture(
        cls,
        model: nn.Module,
        *,
        step: int = 0,
        momentum: Mapping[str, Tensor] | None = None,
        optimizer: Mapping[str, Tensor] | None = None,
        average: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """The state of a model now, copied, so that training on does not change it."""
        return cls(
            step=step,
            model=plain_copies(model.state_dict()),
            momentum=plain_copies(momentum or {}),
            optimizer=plain_copies(optimizer or {}),
            average=plain_copies(average or {}),
        )

    def settled(self) -> Self:
        """The network that training has come to, to be pruned or read: the average where there is one.

        Training cannot be continued from it where there is an average.
        """
        return type(self)(step=self.step, model=self.average) if self.average else self

    def save(self, path: Place) -> Written:
        """Write the checkpoint; whatever happens, the path holds either the old file or the whole new one.

        Returns:
            The file's digest and size.

        Raises:
            OSError: the folder cannot be written to.
        """
        tensors = {f"{part}/{name}": value for part in _PARTS for name, value in getattr(self, part).items()}
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
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
        with artifact.explained():
            for key, tensor in artifact.tensors.items():
                part, _, name = key.partition("/")
                parts[part][name] = tensor
            model, momentum, optimizer, average = (parts[part] for part in _PARTS)
            step = int(artifact.texts["step"])
            return cls(step=step, model=model, momentum=momentum, optimizer=optimizer, average=average)

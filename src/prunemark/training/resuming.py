"""Training that is resumed in the middle: its state on disk, with the curve so far, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prunemark.parts import Keeper
from prunemark.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from prunemark.training.loop import EpochRecord


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """State of a training between two steps.

    Attributes:
        checkpoint: model and optimizer.
        train_seconds: time that its steps took.
        history: records of the epochs that have ended.
        losses: of the epoch under way, each times its number of examples.
        examples: of that epoch, visited so far.
    """

    checkpoint: Checkpoint
    train_seconds: float = 0.0
    history: "list[EpochRecord]" = field(default_factory=list)
    losses: Sequence[Tensor] = ()
    examples: int = 0


def keep(keeper: Keeper, state: Resumed) -> None:
    """Write down a training's state."""
    tensors = {
        f"{each.name}/{name}": tensor
        for each in fields(Checkpoint)
        if isinstance(part := getattr(state.checkpoint, each.name), dict)
        for name, tensor in part.items()
    }
    if state.losses:
        tensors["losses"] = torch.stack(list(state.losses))
    facts: dict[str, Any] = {
        "train_seconds": state.train_seconds,
        "history": state.history,
        "examples": state.examples,
    }
    keeper.keep(state.checkpoint.step, tensors, facts)


def resumed(keeper: Keeper | None, device: torch.device) -> Resumed | None:
    """The state that was kept, its losses on the device; None if there is none."""
    found = keeper.kept() if keeper else None
    if found is None:
        return None
    tensors = dict(found.tensors)
    losses = tensors.pop("losses", torch.empty(0)).to(device).unbind()
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    checkpoint = Checkpoint(
        step=found.at,
        model=parts.get("model", {}),
        momentum=parts.get("momentum", {}),
        optimizer=parts.get("optimizer", {}),
        average=parts.get("average", {}),
    )
    return Resumed(checkpoint=checkpoint, losses=losses, **found.facts)

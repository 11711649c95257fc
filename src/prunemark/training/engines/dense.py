"""The engine that trains any model: PyTorch on whole weights."""

import contextlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.datasets import Split
from prunemark.models.convolutions import sound_convolutions
from prunemark.models.zeroing import bits_like, kept_bits, zero_pruned_
from prunemark.recipes import Recipe
from prunemark.registry import unknown
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.evaluation import Evaluation, evaluate


class DenseEngine:
    """SGD on the model in place, see `Engine`. On a CPU a step whose loss is not finite is left out.

    Raises:
        ValueError: masks or a checkpoint that do not fit the model.
    """

    draws = True

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        masks: Mapping[str, Tensor],
        start: Checkpoint | None,
        device: torch.device,
    ) -> None:
        if start:
            restore_(model, start)
        self.memory_format = _layout(model)
        self._model, self._device = model, device
        self._was_training = model.training
        _move_(model, device, self.memory_format)
        self._parameters = dict(model.named_parameters())
        self._kept_bits = _kept_bits(self._parameters, masks)
        self._momentum = momentum_buffers(self._parameters, start) if recipe.momentum else {}
        for name, bits in self._kept_bits.items():
            zero_pruned_(self._parameters[name].data, bits)
            if self._momentum:
                zero_pruned_(self._momentum[name], bits)
        self._optimizer = torch.optim.SGD(
            self._parameters.values(), momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=True
        )
        for name, buffer in self._momentum.items():
            self._optimizer.state[self._parameters[name]]["momentum_buffer"] = buffer
        model.train()
        self._backends = contextlib.ExitStack()
        self._backends.enter_context(sound_convolutions(model))

    def step(self, images: Tensor, targets: Tensor, lr: float) -> Tensor:
        """Forward, backward, gradients of pruned weights to 0, and the optimizer's step."""
        loss = F.cross_entropy(self._model(images), targets)
        # On an accelerator, reading the loss would wait for it.
        if self._device.type == "cpu" and not math.isfinite(loss.item()):
            return loss.detach()
        self._optimizer.zero_grad()
        loss.backward()
        for name, bits in self._kept_bits.items():
            if (gradient := self._parameters[name].grad) is not None:
                zero_pruned_(gradient, bits)
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()
        return loss.detach()

    def step_on(self, inputs: Tensor, targets: Tensor, places: Tensor, lr: float) -> Tensor:
        """As `step` on inputs[places] and targets[places]."""
        return self.step(inputs[places], targets[places], lr)

    def evaluate(self, split: Split) -> Evaluation:
        """Accuracy and loss now."""
        return evaluate(self._model, split.inputs, split.targets)

    def checkpoint(self, step: int) -> Checkpoint:
        """A copy of the state now."""
        return Checkpoint.capture(self._model, step=step, momentum=self._momentum if step else None)

    def close(self) -> None:
        """Give the model back: contiguous, without gradients, in its own mode."""
        self._backends.close()
        self._optimizer.zero_grad()
        self._model.train(self._was_training)
        _move_(self._model, self._device, torch.contiguous_format)


def _layout(model: nn.Module) -> torch.memory_format:
    """channels_last for convolutions of images: with one thread on a CPU they run a quarter faster."""
    images = any(parameter.ndim == 4 for parameter in model.parameters())
    return torch.channels_last if images else torch.contiguous_format


def _move_(model: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    model.to(device=device, memory_format=layout)  # pyright: ignore[reportCallIssue]  # torch's stubs lack it


def restore_(model: nn.Module, start: Checkpoint) -> None:
    """Give a model the weights and buffers of a checkpoint, or raise ValueError."""
    try:
        model.load_state_dict(start.model)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint is of another model: {error}") from error


def _kept_bits(parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The bits of each masked parameter, in its layout."""
    check_masks(parameters, masks)
    return {name: bits_like(kept_bits(mask), parameters[name]) for name, mask in masks.items()}


def check_masks(parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
    """Raise ValueError where masks do not fit the parameters."""
    for name, mask in masks.items():
        if name not in parameters:
            raise ValueError(f"the masks are of another model: {unknown('parameter', name, parameters)}")
        parameter = parameters[name]
        if mask.dtype != torch.bool or mask.shape != parameter.shape:
            raise ValueError(
                f"the mask of {name} must be boolean of shape {tuple(parameter.shape)}, "
                f"not {mask.dtype} of shape {tuple(mask.shape)}"
            )


def momentum_buffers(parameters: Mapping[str, nn.Parameter], start: Checkpoint | None) -> dict[str, Tensor]:
    """Momentum buffers in their parameters' layout: those of the checkpoint, or zeros at step 0."""
    momentum = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    if start and start.step:
        for name, buffer in momentum.items():
            stored = start.momentum.get(name)
            if stored is None or stored.shape != buffer.shape:
                raise ValueError(f"the checkpoint of step {start.step} holds no momentum that fits {name}")
            buffer.copy_(stored)
    return momentum

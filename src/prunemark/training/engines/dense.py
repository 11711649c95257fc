"""The engine that trains any model: PyTorch on whole weights."""

import contextlib
import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunemark.datasets import Split
from prunemark.models.convolutions import sound_convolutions
from prunemark.models.precision import require_bfloat16
from prunemark.models.zeroing import bits_like, kept_bits
from prunemark.recipes import Recipe
from prunemark.registry import unknown
from prunemark.training.averaging import WeightAverage
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.engines.layout import fast_layout, move_, remembered
from prunemark.training.engines.replay import Replayed
from prunemark.training.evaluation import Evaluation, evaluate
from prunemark.training.losses import batch_loss, make_loss
from prunemark.training.mixing import Targets
from prunemark.training.optimizers import MaskedOptimizer


class DenseEngine:
    """Steps on the model in place, see `Engine`. On a CPU a step whose loss is not finite is left out.

    Images are in channels_last where the model has convolutions of images, unless it runs on contiguous ones only, as
    one does that takes a `view` of what a convolution returns: then the first step fails, and is taken again.

    In bfloat16 (`Recipe.precision`), which is torch's autocast, weights stay in float32 and so does what changes them.

    Raises:
        ValueError: masks or a checkpoint that do not fit the model, a precision that the device lacks, or what
            `MaskedOptimizer` and `make_loss` refuse.
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
        self._loss = make_loss(recipe)
        self._bfloat16 = recipe.precision == "bfloat16"
        if self._bfloat16:
            require_bfloat16(device)
        if start:
            restore_(model, start)
        self.memory_format = fast_layout(model)
        self._settled = self.memory_format == torch.contiguous_format
        self._model, self._device = model, device
        self._was_training = model.training
        move_(model, device, self.memory_format)
        parameters = dict(model.named_parameters())
        bits = _kept_bits(parameters, masks)
        self._optimizer = MaskedOptimizer(recipe, parameters, bits, start)
        average = start.average if start else {}
        self._average = WeightAverage(model, recipe.ema, average, bits) if recipe.ema else None
        replays = device.type == "cuda" and self._optimizer.replays and not self._average
        self._replayed = Replayed(self._step) if replays else None
        model.train()
        self._backends = contextlib.ExitStack()
        self._backends.enter_context(sound_convolutions(model))

    def step(self, images: Tensor, targets: Targets, lr: float) -> Tensor:
        """Forward, backward, gradients of pruned weights to 0, and the optimizer's step."""
        self._optimizer.set_lr(lr)
        if self._settled:
            return self._take(images, targets)
        restore = remembered(self._model, self._device)
        try:
            loss = self._take(images, targets)
        except RuntimeError:
            restore()
        else:
            self._settled = True
            return loss
        self.memory_format, self._settled = torch.contiguous_format, True
        move_(self._model, self._device, self.memory_format)
        return self._take(images, targets)

    def _take(self, images: Tensor, targets: Targets) -> Tensor:
        if self.memory_format == torch.contiguous_format:
            images = images.contiguous()  # they were laid out before the first step
        if self._replayed is not None and isinstance(targets, Tensor):
            return self._replayed(images, targets)
        return self._step(images, targets)

    def _step(self, images: Tensor, targets: Targets) -> Tensor:
        loss = batch_loss(self._loss, self._outputs(images), targets)
        # On an accelerator, reading the loss would wait for it.
        if self._device.type == "cpu" and not math.isfinite(loss.item()):
            return loss.detach()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        if self._average:
            self._average.update()
        return loss.detach()

    def step_on(self, inputs: Tensor, targets: Tensor, places: Tensor, lr: float) -> Tensor:
        """As `step` on inputs[places] and targets[places]."""
        return self.step(inputs[places], targets[places], lr)

    def _outputs(self, images: Tensor) -> Tensor:
        if not self._bfloat16:
            return self._model(images)
        with torch.autocast(self._device.type, torch.bfloat16):
            return self._model(images).float()

    def evaluate(self, split: Split) -> Evaluation:
        """Accuracy and loss now, of the average where there is one."""
        with self._average.shown() if self._average else contextlib.nullcontext():
            try:
                return evaluate(self._model, split.inputs, split.targets, self._loss)
            except RuntimeError:
                if self.memory_format == torch.contiguous_format:
                    raise
                self._model.train()
            # It may be the layout; that of the model is for the steps to change.
            twin = copy.deepcopy(self._model)
            move_(twin, self._device, torch.contiguous_format)
            return evaluate(twin, split.inputs, split.targets, self._loss)

    def checkpoint(self, step: int) -> Checkpoint:
        """A copy of the state now."""
        return Checkpoint.capture(
            self._model,
            step=step,
            momentum=self._optimizer.momentum if step else None,
            optimizer=self._optimizer.state(),
            average=self._average.state() if self._average else None,
        )

    def close(self) -> None:
        """Give the model back: contiguous, without gradients, in its own mode."""
        self._backends.close()
        self._replayed = None
        self._optimizer.release()
        if self._average:
            self._average.show()
        self._model.train(self._was_training)
        move_(self._model, self._device, torch.contiguous_format)


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

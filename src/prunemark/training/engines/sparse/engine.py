"""The sparse engine: training steps that touch only kept weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunemark.datasets import Split
from prunemark.recipes import Recipe
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.engines.sparse.builder import Built, Stored, build
from prunemark.training.engines.sparse.graph import UnsupportedError
from prunemark.training.engines.sparse.kernels import new_program
from prunemark.training.engines.sparse.trace import trace
from prunemark.training.evaluation import Evaluation

_CELL = 16
_CHECKED = 2  # examples


class SparseEngine:
    """Trains a masked network with SGD by kernels that touch only kept weights, on one CPU thread.

    It computes what the dense engine computes, in float32 and another order of additions. Units that no path of kept
    weights joins to the logits are left out, which changes no logit and no gradient; their weights and BatchNorm
    parameters decay as in the dense network, but their BatchNorm's running statistics stay as they were at the start.

    Args:
        model: float32, on the CPU. Its pruned weights become 0; all else keeps its value until `checkpoint`.
        recipe: batch size, momentum and weight decay.
        masks: parameter name -> boolean tensor of its shape, True = kept.
        start: whose momentum is gone on with; the model has its values already.
        device: the CPU.
        input_shape: of one example.
        kernels: an instruction set instead of the best of this processor.

    Raises:
        UnsupportedError: the network has parts that the kernels lack, is not in float32 on the CPU, or computes other
            logits than the operations that it was traced to.
        ImportError: the kernels are not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        masks: Mapping[str, Tensor],
        start: Checkpoint | None,
        device: str | torch.device,
        *,
        input_shape: tuple[int, ...],
        kernels: str = "",
    ) -> None:
        reason = unsupported(model, masks, device)
        if reason:
            raise UnsupportedError(reason)
        graph = trace(model, input_shape)
        with torch.no_grad():
            for name, mask in masks.items():
                model.get_parameter(name).masked_fill_(~mask, 0)
        # One example that is left over joins the batch before it, see Recipe.steps_per_epoch.
        self._most = _CELL * math.ceil((recipe.batch_size + 1) / _CELL)
        self._model, self._recipe, self._graph = model, recipe, graph
        self._built = build(graph, model, masks, new_program(self._most, kernels))
        self._check_logits(input_shape)
        if start is not None and start.step and recipe.momentum:
            self._restore_momentum(start.momentum)

    def _check_logits(self, input_shape: tuple[int, ...]) -> None:
        """Compare some logits with the model's: a trace that missed something must not train another network."""
        inputs = torch.randn(_CHECKED, *input_shape, generator=torch.Generator().manual_seed(0))
        modes = {module: module.training for module in self._model.modules()}
        self._model.eval()
        with torch.no_grad():
            expected = self._model(inputs)
        for module, mode in modes.items():
            module.training = mode
        program = self._built.program
        program.evaluate(self._images(inputs), torch.zeros(_CHECKED, dtype=torch.int64))
        got = torch.tensor(program.values(self._built.tensors[self._graph.logits], _CHECKED)).view(expected.shape)
        size = expected.abs().max().item()
        if math.isfinite(size) and (got - expected).abs().max().item() > 1e-3 * size:
            raise UnsupportedError("its logits are not those of the operations that it was traced to")

    @property
    def built(self) -> Built:
        """The program and what is in it."""
        return self._built

    def step(self, images: Tensor, targets: Tensor, lr: float) -> float:
        """One step of SGD on a batch; returns the mean loss before it. If that is not finite, no weight changes."""
        return self._step(images, targets, None, lr)

    def step_on(self, inputs: Tensor, targets: Tensor, places: Tensor, lr: float) -> float:
        """As `step` on inputs[places] and targets[places], gathered by the kernels in the layout that they want."""
        return self._step(inputs, targets[places], places, lr)

    def _step(self, inputs: Tensor, targets: Tensor, places: Tensor | None, lr: float) -> float:
        recipe = self._recipe
        return self._built.program.step(self._images(inputs), targets, places, lr, recipe.momentum, recipe.weight_decay)

    def evaluate(self, split: Split) -> Evaluation:
        """Top-1 accuracy and mean cross-entropy with the running statistics."""
        count = len(split.inputs)
        if not count:
            raise ValueError("there are no examples to evaluate on")
        loss, correct = 0.0, 0
        for images, targets in zip(split.inputs.split(self._most), split.targets.split(self._most), strict=True):
            batch_loss, batch_correct = self._built.program.evaluate(self._images(images), targets)
            loss += batch_loss
            correct += batch_correct
        return Evaluation(accuracy=correct / count, loss=loss / count)

    def checkpoint(self, step: int) -> Checkpoint:
        """The state after that many steps, which the model takes, too."""
        momentum: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                stored = self._built.parameters.get(name)
                momentum[name] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
                if stored is None:
                    continue
                value, velocity, _ = self._read(stored, parameter.numel())
                _scatter(parameter.data, stored, value)
                _scatter(momentum[name], stored, velocity)
        for name, number in self._built.normalisations.items():
            module = self._model.get_submodule(name)
            assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
            batches = self._built.program.read_statistics(number, module.running_mean, module.running_var)
            if module.num_batches_tracked is not None:
                module.num_batches_tracked.fill_(batches)
        kept = momentum if step and self._recipe.momentum else {}
        return Checkpoint.capture(self._model, step=step, momentum=kept)

    def gradients(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Gradients of the mean loss for every parameter that is trained, 0 where pruned; no step is taken."""
        self._built.program.gradients(self._images(images), targets)
        gradients: dict[str, Tensor] = {}
        for name, stored in self._built.parameters.items():
            parameter = self._model.get_parameter(name)
            gradients[name] = torch.zeros_like(parameter, memory_format=torch.contiguous_format).detach()
            _scatter(gradients[name], stored, self._read(stored, parameter.numel())[2])
        return gradients

    def close(self) -> None:
        """Free the program's memory."""
        del self._built

    def _images(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W), whatever an example's dimensions."""
        return inputs if inputs.ndim == 4 else inputs.reshape(len(inputs), 1, 1, -1)

    def _read(self, stored: Stored, size: int) -> tuple[Tensor, Tensor, Tensor]:
        count = size if stored.positions is None else len(stored.positions)
        value, velocity, gradient = (torch.empty(count) for _ in range(3))
        self._built.program.read_parameter(stored.id, value, velocity, gradient)
        return value, velocity, gradient

    def _restore_momentum(self, momentum: Mapping[str, Tensor]) -> None:
        for name, stored in self._built.parameters.items():
            values = momentum.get(name)
            if values is None or values.shape != self._model.get_parameter(name).shape:
                raise ValueError(f"the checkpoint holds no momentum that fits {name}")
            flat = values.contiguous().flatten()
            self._built.program.write_velocity(stored.id, flat if stored.positions is None else flat[stored.positions])


def unsupported(model: nn.Module, masks: Mapping[str, Tensor], device: str | torch.device) -> str | None:
    """Why the engine cannot train a model, before its parts are looked at; None if it may."""
    if torch.device(device).type != "cpu":
        return f"it trains on the CPU, not on {device}"
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu" or not parameter.requires_grad:
            return f"{name} is not a trained float32 parameter on the CPU"
    names = dict(model.named_parameters(remove_duplicate=False))
    if len(names) != len(dict(model.named_parameters())):
        return "it shares a parameter between modules"
    strangers = [name for name in masks if name not in names]
    return f"the masks are of another model: {strangers[0]}" if strangers else None


def _scatter(into: Tensor, stored: Stored, values: Tensor) -> None:
    """Write values to their positions of a tensor, and 0 elsewhere."""
    if stored.positions is None:
        into.copy_(values.view(into.shape))
        return
    flat = torch.zeros(into.numel())
    flat[stored.positions] = values
    into.copy_(flat.view(into.shape))

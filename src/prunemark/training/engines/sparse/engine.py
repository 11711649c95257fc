"""The sparse engine: training steps that touch only kept weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunemark.datasets import Split
from prunemark.recipes import Recipe
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.engines import WITHOUT_KERNELS
from prunemark.training.engines.dense import check_masks, restore_
from prunemark.training.engines.sparse.builder import Built, build, multiplications_share
from prunemark.training.engines.sparse.fidelity import require_same_training
from prunemark.training.engines.sparse.graph import Graph, UnsupportedError
from prunemark.training.engines.sparse.kernels import available_kernels, new_program
from prunemark.training.engines.sparse.reading import as_images, gradients_of, read_parameter, scatter_
from prunemark.training.engines.sparse.trace import trace
from prunemark.training.evaluation import Evaluation
from prunemark.training.mixing import Targets
from prunemark.training.optimizers import momentum_buffers

_CANNOT = "the sparse engine cannot train the model"
_CELL = 16
_CHECKED = 2  # examples
# Share of a network's multiplications below which every network of benchmarks/sparse_engine.py is faster than dense.
PAYS_BELOW = 0.6


def why_dense(
    model: nn.Module, recipe: Recipe, masks: Mapping[str, Tensor], input_shape: tuple[int, ...], device: torch.device
) -> str:
    """Why a training had better be dense, in a sentence; empty where the sparse engine can do it, and faster.

    Raises:
        ValueError: masks that do not fit the model.
    """
    if not masks:
        return "there are no masks"
    check_masks(dict(model.named_parameters()), masks)
    if reason := _unsupported(model, recipe, device):
        return reason
    try:
        share = multiplications_share(trace(model, input_shape), model, masks)
    except UnsupportedError as error:
        return str(error)
    if share >= PAYS_BELOW:
        return f"the masks leave {share:.1%} of the multiplications; below {PAYS_BELOW:.0%} the sparse one is faster"
    return ""


class SparseEngine:
    """Trains a masked network with SGD by kernels that touch only kept weights, on one CPU thread, see `Engine`.

    It computes what the dense engine computes, in float32 and another order of additions. Units that no path of kept
    weights joins to the logits are left out, which changes no logit and no gradient; their weights and BatchNorm
    parameters decay as in the dense network, but their BatchNorm's running statistics stay as they were at the start.
    A step whose loss is not finite is left out. The network is traced when the first images tell their shape.

    Args:
        model: float32, on the CPU. Its pruned weights become 0; all else keeps its value until `checkpoint` or `close`.
        recipe: batch size, momentum and weight decay; one that is not `beyond_sgd`.
        masks: parameter name -> boolean tensor of its shape, True = kept.
        start: the state to go on from.
        device: the CPU.
        kernels: an instruction set instead of the best of this processor.

    Raises:
        UnsupportedError: the recipe asks for more than SGD with momentum on cross-entropy; the network has parts that
            the kernels lack, is not in float32 on the CPU, computes other logits or gradients than the operations that
            it was traced to, or the kernels are not installed.
        ValueError: masks or a checkpoint that do not fit the model.
    """

    memory_format = torch.contiguous_format
    draws = False

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        masks: Mapping[str, Tensor],
        start: Checkpoint | None,
        device: torch.device,
        *,
        kernels: str = "",
    ) -> None:
        if reason := _unsupported(model, recipe, device):
            raise UnsupportedError(f"{_CANNOT}: {reason}")
        if start:
            restore_(model, start)
        parameters = dict(model.named_parameters())
        check_masks(parameters, masks)
        self._momentum = momentum_buffers(parameters, start) if recipe.momentum else {}
        for name, mask in masks.items():
            for values in (parameters[name].data, *([self._momentum[name]] if self._momentum else [])):
                values.masked_fill_(~mask, 0)
        # One example that is left over joins the batch before it, see Recipe.steps_per_epoch.
        self._most = _CELL * math.ceil((recipe.batch_size + 1) / _CELL)
        self._model, self._recipe, self._masks, self._kernels = model, recipe, masks, kernels
        self._built: Built | None = None
        self._checked = False

    def built_for(self, input_shape: tuple[int, ...], examples: int = 1) -> Built:
        """The program of the training step, made when it is first asked for, and anew for larger batches.

        Args:
            input_shape: of one example.
            examples: in the largest batch that is known.
        """
        if self._built is None or examples > self._most:
            self._write_back()
            self._most = max(self._most, _CELL * math.ceil(examples / _CELL))
            self._built = self._build(input_shape)
        return self._built

    def _build(self, input_shape: tuple[int, ...]) -> Built:
        try:
            graph = trace(self._model, input_shape)
            built = build(graph, self._model, self._masks, new_program(self._most, self._kernels))
            self._check_logits(graph, built, input_shape)
            if not self._checked:
                require_same_training(graph, self._model, self._masks, input_shape, self._kernels)
                self._checked = True
        except UnsupportedError as error:
            raise UnsupportedError(f"{_CANNOT}: {error}") from error
        for name, stored in built.parameters.items():
            if name in self._momentum:
                flat = self._momentum[name].contiguous().flatten()
                built.program.write_velocity(stored.id, flat if stored.positions is None else flat[stored.positions])
        return built

    def _check_logits(self, graph: Graph, built: Built, input_shape: tuple[int, ...]) -> None:
        """Compare some logits with the model's: a trace that missed something must not train another network."""
        inputs = torch.randn(_CHECKED, *input_shape, generator=torch.Generator().manual_seed(0))
        modes = {module: module.training for module in self._model.modules()}
        self._model.eval()
        with torch.no_grad():
            expected = self._model(inputs)
        for module, mode in modes.items():
            module.training = mode
        targets = torch.zeros(_CHECKED, dtype=torch.int64)
        built.program.evaluate(as_images(inputs), targets, torch.zeros(_CHECKED, dtype=torch.bool))
        got = torch.tensor(built.program.values(built.tensors[graph.logits], _CHECKED)).view(expected.shape)
        size = expected.abs().max().item()
        # Written so that a nan of the kernels is a difference, too.
        if math.isfinite(size) and not (got - expected).abs().max().item() <= 1e-3 * size:
            raise UnsupportedError("the model's logits are not those of the operations that it was traced to")

    def step(self, images: Tensor, targets: Targets, lr: float) -> Tensor:
        """One step of SGD on a batch."""
        assert isinstance(targets, Tensor), "a recipe that mixes targets is refused"
        return self._step(images, targets, None, lr)

    def step_on(self, inputs: Tensor, targets: Tensor, places: Tensor, lr: float) -> Tensor:
        """As `step` on inputs[places] and targets[places], gathered by the kernels in the layout that they want."""
        return self._step(inputs, targets[places], places, lr)

    def _step(self, inputs: Tensor, targets: Tensor, places: Tensor | None, lr: float) -> Tensor:
        examples = len(inputs) if places is None else len(places)
        program = self.built_for(tuple(inputs.shape[1:]), examples).program
        recipe = self._recipe
        return torch.tensor(program.step(as_images(inputs), targets, places, lr, recipe.momentum, recipe.weight_decay))

    def evaluate(self, split: Split) -> Evaluation:
        """Accuracy and loss now."""
        count = len(split.inputs)
        if not count:
            raise ValueError("there are no examples to evaluate on")
        program = self.built_for(tuple(split.inputs.shape[1:])).program
        correct, loss = torch.zeros(count, dtype=torch.bool), 0.0
        batches = zip(
            split.inputs.split(self._most), split.targets.split(self._most), correct.split(self._most), strict=True
        )
        for images, targets, right in batches:
            loss += program.evaluate(as_images(images), targets, right) * len(targets)
        return Evaluation(accuracy=int(correct.sum()) / count, loss=loss / count, correct=correct)

    def checkpoint(self, step: int) -> Checkpoint:
        """A copy of the state now."""
        self._write_back()
        return Checkpoint.capture(self._model, step=step, momentum=self._momentum if step else None)

    def _write_back(self) -> None:
        """Give the model, and the momentum buffers, what the program has come to."""
        if self._built is None:
            return
        for name, stored in self._built.parameters.items():
            parameter = self._model.get_parameter(name)
            value, velocity, _ = read_parameter(self._built, stored, parameter.numel())
            scatter_(parameter.data, stored, value)
            if self._momentum:
                scatter_(self._momentum[name], stored, velocity)
        for name, number in self._built.normalisations.items():
            module = self._model.get_submodule(name)
            assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
            batches = self._built.program.read_statistics(number, module.running_mean, module.running_var)
            if module.num_batches_tracked is not None:
                module.num_batches_tracked.fill_(batches)

    def gradients(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Gradients of the mean loss for every parameter that is trained, 0 where pruned; no step is taken."""
        return gradients_of(self.built_for(tuple(images.shape[1:]), len(images)), self._model, images, targets)

    def close(self) -> None:
        """Give the model its state and free the program's memory."""
        self._write_back()
        self._built = None
        for parameter in self._model.parameters():
            parameter.data = parameter.data.contiguous()


def _unsupported(model: nn.Module, recipe: Recipe, device: torch.device) -> str:
    """Why the engine cannot train a model, before its parts are looked at; empty if it may."""
    if not available_kernels():
        return WITHOUT_KERNELS
    if device.type != "cpu":
        return f"it trains on the CPU, not on {device}"
    if beyond := recipe.beyond_sgd():
        return f"it trains with SGD and momentum on cross-entropy, not with {', '.join(beyond)}"
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu" or not parameter.requires_grad:
            return f"{name} is not a trained float32 parameter on the CPU"
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return f"{name} has hooks"
    if len(dict(model.named_parameters(remove_duplicate=False))) != len(dict(model.named_parameters())):
        return "it shares a parameter between modules"
    return ""

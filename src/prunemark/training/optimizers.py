"""The optimizer of a training: its steps under masks, and its state in checkpoints."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunemark.models.zeroing import bits_like, zero_pruned_
from prunemark.recipes import OPTIMIZERS, Recipe
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.flat_gradients import FlatGradients


class MaskedOptimizer:
    """A recipe's optimizer, under which pruned weights and their state stay exactly 0.

    The state of SGD is its momentum, which is made before the first step; other optimizers make theirs in their first
    step. Gradients of pruned weights are set to 0 first, then the gradient is clipped, then comes the step. With SGD a
    pruned weight cannot move then; with others whatever has a weight's shape is set to 0 again after the step, because
    some hold a number in its place that is not 0.

    On a GPU launches cost more than arithmetic: SGD is fused there, its learning rate is a tensor, so that recorded
    steps can be replayed, and gradients lie in one piece, which one launch masks.

    Args:
        recipe: the optimizer, its options, momentum, weight decay and `clip_norm`.
        parameters: by their names in checkpoints.
        kept_bits: of masked parameters, in their layout, see `prunemark.models.zeroing`.
        start: the state to continue from; None, or one of step 0, is the beginning.
        few_launches: whether it does as on a GPU; None = on a GPU.

    Raises:
        ValueError: the checkpoint holds no state that fits; this version of torch lacks the optimizer or an option.
    """

    def __init__(
        self,
        recipe: Recipe,
        parameters: Mapping[str, nn.Parameter],
        kept_bits: Mapping[str, Tensor],
        start: Checkpoint | None,
        *,
        few_launches: bool | None = None,
    ) -> None:
        device = next(iter(parameters.values())).device
        self._few_launches = device.type == "cuda" if few_launches is None else few_launches
        self._flat: FlatGradients | None = None
        self._parameters, self._kept_bits, self._name = parameters, kept_bits, recipe.optimizer
        self._clip_norm = recipe.clip_norm
        # SGD with dampening takes its first step otherwise than from a momentum of 0.
        dampened = recipe.momentum and recipe.optimizer_options.get("dampening")
        self._is_sgd = recipe.optimizer == "sgd" and not dampened
        self.momentum = momentum_buffers(parameters, start) if self._is_sgd and recipe.momentum else {}
        how: dict[str, Any] = {"lr": recipe.lr, "foreach": True if self._is_sgd else None}
        if self._is_sgd and self._few_launches:
            how = {"lr": torch.tensor(recipe.lr, device=device), "fused": True}
        self._optimizer = _made(recipe, list(parameters.values()), how)
        for name, buffer in self.momentum.items():
            self._optimizer.state[parameters[name]]["momentum_buffer"] = buffer
        if not self._is_sgd and start and start.step and not start.afresh:
            self._restore(start)
        self._zero_pruned()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        if self._flat is None:
            self._optimizer.zero_grad()
            return
        self._flat.reset()
        for name, parameter in self._parameters.items():
            if name not in self._flat:
                parameter.grad = None

    def release(self) -> None:
        """Leave the parameters without gradients."""
        self._flat = None
        self._optimizer.zero_grad()

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps from now on."""
        group = self._optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr

    def step(self, lr: float | None = None) -> None:
        """One step along the gradients that the parameters hold; at the rate that was set, if none is given."""
        if lr is not None:
            self.set_lr(lr)
        self._mask_gradients()
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self._parameters.values(), self._clip_norm)
        self._optimizer.step()
        if not self._is_sgd:
            self._zero_pruned()

    @property
    def replays(self) -> bool:
        """Whether a record of its step, after the first, does in each replay what the step does."""
        return self._is_sgd and self._few_launches

    def _mask_gradients(self) -> None:
        if self._flat is None and self._few_launches:
            self._flat = FlatGradients(self._parameters, self._kept_bits)
        if self._flat is not None:
            self._flat.zero_pruned_()
        for name, bits in self._kept_bits.items():
            if self._flat is not None and name in self._flat:
                continue
            if (gradient := self._parameters[name].grad) is not None:
                zero_pruned_(gradient, bits)

    def state(self) -> dict[str, Tensor]:
        """The state of optimizers other than SGD: "OPTIMIZER/STATE/PARAMETER" -> tensor."""
        if self._is_sgd:
            return {}
        return {
            f"{self._name}/{kind}/{name}": torch.as_tensor(value)
            for name, parameter in self._parameters.items()
            for kind, value in self._optimizer.state[parameter].items()
            if value is not None
        }

    @torch.no_grad()
    def _zero_pruned(self) -> None:
        for name, bits in self._kept_bits.items():
            parameter = self._parameters[name]
            for values in (parameter.data, *self._optimizer.state[parameter].values()):
                if isinstance(values, Tensor) and values.shape == parameter.shape:
                    zero_pruned_(values, bits_like(bits, values))

    def _restore(self, start: Checkpoint) -> None:
        found: dict[str, dict[str, Tensor]] = {}
        for key, tensor in start.optimizer.items():
            optimizer, kind, name = key.split("/", 2)
            parameter = self._parameters.get(name)
            # An optimizer's own shapes are a number, or those of sums over some axes.
            if optimizer != self._name or parameter is None or tensor.ndim > parameter.ndim:
                raise ValueError(f"the checkpoint of step {start.step} holds no state of {self._name} that fits {name}")
            found.setdefault(name, {})[kind] = _laid_out(tensor, parameter)
        if not found:
            raise ValueError(f"the checkpoint of step {start.step} holds no state of {self._name}")
        groups = self._optimizer.state_dict()["param_groups"]
        state = {i: found[name] for i, name in enumerate(self._parameters) if name in found}
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})


def momentum_buffers(parameters: Mapping[str, nn.Parameter], start: Checkpoint | None) -> dict[str, Tensor]:
    """Momentum buffers in their parameters' layout: those of the checkpoint, or zeros at step 0."""
    momentum = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    if start and start.step and not start.afresh:
        for name, buffer in momentum.items():
            stored = start.momentum.get(name)
            if stored is None or stored.shape != buffer.shape:
                raise ValueError(f"the checkpoint of step {start.step} holds no momentum that fits {name}")
            buffer.copy_(stored)
    return momentum


def _laid_out(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    """A copy of a state in its parameter's layout, where it has its shape."""
    if tensor.shape != parameter.shape:
        return tensor.clone()
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


def _made(recipe: Recipe, parameters: list[nn.Parameter], how: Mapping[str, Any]) -> torch.optim.Optimizer:
    entry = OPTIMIZERS[recipe.optimizer]
    options: dict[str, Any] = dict(recipe.optimizer_options)
    if entry.momentum is not None:
        options["momentum"] = recipe.momentum
    if entry.weight_decay:
        options["weight_decay"] = recipe.weight_decay
    try:
        make = entry.load()
    except AttributeError:
        raise ValueError(f"torch {torch.__version__} has no optimizer {recipe.optimizer}") from None
    if missing := options.keys() - inspect.signature(make).parameters.keys():
        raise ValueError(f"{recipe.optimizer} of torch {torch.__version__} has no option {', '.join(sorted(missing))}")
    try:
        return make(parameters, **how, **options)
    except ValueError as error:
        raise ValueError(f"optimizer_options of {recipe.optimizer}: {error}") from None

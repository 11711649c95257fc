"""Masks in force: pruned weights stay at exactly 0 whatever happens to the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from prunemark.models.prunable import masked_parameters, module_of, unwrap
from prunemark.models.zeroing import bits_like, kept_bits, zero_pruned_


class Hold:
    """Masks in force on one model and its optimizers; made by `Masks.hold`."""

    def __init__(
        self, masks: Mapping[str, Tensor], model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        self._model = unwrap(model)
        self._pruned = {name: _Pruned(kept_bits(mask)) for name, mask in masks.items()}
        self._hooked: dict[str, tuple[nn.Parameter, Any]] = {}
        _require_stepped(masked_parameters(self._model, masks), optimizers)
        self._enforce()
        self._handles: list[Any] = [optimizer.register_step_post_hook(self._enforce) for optimizer in optimizers]
        # Every owner of a masked weight, so that loading the state of a part of the model counts too.
        owners = {id(owner): owner for owner, _ in (module_of(self._model, name) for name in masks)}
        for owner in owners.values():
            self._handles.append(owner.register_load_state_dict_post_hook(_OnLoad(self._enforce)))

    def remove(self) -> None:
        """Let go: from now on nothing keeps the pruned weights at 0."""
        for handle in (*self._handles, *(handle for _, handle in self._hooked.values())):
            handle.remove()
        self._handles.clear()
        self._hooked.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _enforce(self, *_: object) -> None:
        """Zero the pruned weights; watch the gradients of parameters that came in the place of others."""
        weights = masked_parameters(self._model, {name: pruned.bits for name, pruned in self._pruned.items()})
        for name, weight in weights.items():
            pruned = self._pruned[name]
            with torch.no_grad():
                zero_pruned_(weight, pruned.bits_for(weight))
            watched, handle = self._hooked.get(name, (None, None))
            if watched is not weight:
                if handle is not None:
                    handle.remove()
                self._hooked[name] = (weight, _watch_gradient(weight, pruned))


class _Pruned:
    """Where one tensor is pruned, wherever the tensor goes."""

    def __init__(self, bits: Tensor) -> None:
        self.bits = bits

    def bits_for(self, weight: Tensor) -> Tensor:
        self.bits = bits_like(self.bits, weight)
        return self.bits

    def zero_gradient(self, weight: Tensor) -> None:
        """Zero the gradient where the weight is pruned, be it infinite or not a number."""
        gradient = weight.grad
        if gradient is None:
            return
        bits = self.bits_for(weight)
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            zero_pruned_(gradient.values(), bits[tuple(gradient.indices())])
            weight.grad = gradient
        else:
            zero_pruned_(gradient, bits)


class _OnLoad:
    """Called after a state dict was loaded. Copies and pickles of the module carry a call that does nothing."""

    def __init__(self, enforce: Callable[[], None]) -> None:
        self._enforce = enforce

    def __call__(self, module: nn.Module, incompatible_keys: Any) -> None:
        self._enforce()

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return _released, ()


def _released() -> Callable[[nn.Module, Any], None]:
    return _do_nothing


def _do_nothing(module: nn.Module, incompatible_keys: Any) -> None: ...


def _watch_gradient(weight: nn.Parameter, pruned: _Pruned) -> Any:
    pruned.zero_gradient(weight)
    # A hook needs a tensor that requires gradients, but stays with one that is frozen now and thawed later.
    frozen = not weight.requires_grad
    if frozen:
        weight.requires_grad_(True)
    handle = weight.register_post_accumulate_grad_hook(pruned.zero_gradient)
    if frozen:
        weight.requires_grad_(False)
    return handle


def _require_stepped(weights: Mapping[str, nn.Parameter], optimizers: Sequence[torch.optim.Optimizer]) -> None:
    if not optimizers:
        raise ValueError("hold needs the optimizer whose steps it should follow: masks.hold(model, optimizer)")
    stepped: set[int] = set()
    for optimizer in optimizers:
        if not isinstance(optimizer, torch.optim.Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"hold takes torch optimizers, not {type(optimizer).__name__}")
        stepped |= {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    trainable = [weight for weight in weights.values() if weight.requires_grad]
    if trainable and not any(id(weight) in stepped for weight in weights.values()):
        raise ValueError("no masked weight is among the optimizer's parameters: it was made for another model")

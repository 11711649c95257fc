"""Masks in force: pruned weights stay at exactly 0 whatever happens to the model."""

import itertools
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from prunemark.models.prunable import masked_parameters, module_of, own_names, parameters_by_name, unwrap
from prunemark.models.stepping import followed, require_stepped
from prunemark.models.zeroing import bits_like, kept_bits, zero_pruned_

_in_force: "weakref.WeakSet[Hold]" = weakref.WeakSet()
_numbers = itertools.count()


class HeldWarning(UserWarning):
    """Weights that were to count are 0, because a hold is (or was until now) in force on the model."""


class Hold:
    """Masks in force on one model and its optimizers; made by `Masks.hold`.

    A hold stays in force as long as the model lives, whether its handle is kept or not. A later hold on the same
    weights replaces it there; while its own `with` block is open, it comes back when the later one is removed.
    """

    def __init__(
        self,
        masks: Mapping[str, Tensor],
        model: nn.Module,
        optimizers: Sequence[Any],
        *,
        allow_unstepped: bool = False,
    ) -> None:
        self._number = next(_numbers)
        self._model = unwrap(model)
        names = own_names(model, masks)
        masks = {names[name]: mask for name, mask in masks.items()}
        self._pruned = {name: _Pruned(kept_bits(mask)) for name, mask in masks.items()}
        self._ceded: dict[str, _Pruned] = {}
        self._watched: dict[str, tuple[nn.Parameter, Any]] = {}
        self._anchored: dict[int, Any] = {}
        self._steps: list[Any] = []
        self._entered = False
        self._loaded: dict[str, Tensor] = {}  # since the last step, what was loaded where it prunes
        weights = masked_parameters(self._model, masks)
        stepping = followed(optimizers)
        require_stepped(weights, stepping, allow_unstepped=allow_unstepped)
        for name, weight in weights.items():
            _rehearse(name, weight)
        earlier = [(other, shared) for other in _newest_first() if (shared := other.shared(weights))]
        try:
            # The model keeps this object alive; an optimizer must not, or it would keep a model that was dropped.
            for optimizer in stepping:
                self._steps.append(optimizer.register_step_post_hook(_OnStep(self)))
            weakref.finalize(self, _unhook, self._steps, self._anchored, self._watched).atexit = False
            with torch.no_grad():
                for other, shared in earlier:
                    for name, loaded in other.as_loaded(shared).items():
                        weights[name].copy_(loaded)
            revived = sum(other.zeros_among(shared, masks) for other, shared in earlier)
            self._enforce()
        except BaseException:
            self._let_go()
            raise
        for other, shared in earlier:
            other.cede(shared)
        _in_force.add(self)
        if revived:
            kept = sum(int(mask.count_nonzero()) for mask in masks.values())
            warnings.warn(
                f"{revived:,} of the {kept:,} weights that these masks keep are 0, because the hold that this one "
                "replaces pruned them: load the network's weights again, now or before the next hold",
                HeldWarning,
                stacklevel=3,
            )

    def remove(self) -> None:
        """Let go: from now on nothing keeps the pruned weights at 0; they stay as they are."""
        self._warn_if_hiding(self._loaded, stacklevel=3)
        self._let_go()
        for other in _newest_first():
            other._resume()

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def shared(self, weights: Mapping[str, nn.Parameter]) -> dict[str, str]:
        """The weights that it holds, of these: its own name for each -> theirs."""
        theirs = {id(weight): name for name, weight in weights.items()}
        return {name: theirs[id(weight)] for name, weight in self._weights().items() if id(weight) in theirs}

    def zeros_among(self, shared: Mapping[str, str], masks: Mapping[str, Tensor]) -> int:
        """Number of weights that are 0 where it prunes and these masks keep."""
        weights = self._weights()
        count = 0
        for own, name in shared.items():
            weight = weights[own].detach()
            count += int((self._pruned[own].where(weight) & masks[name].to(weight.device) & (weight == 0)).sum())
        return count

    def agrees(self, shared: Mapping[str, str], masks: Mapping[str, Tensor]) -> bool:
        """True if it prunes something, and exactly what these masks prune."""
        pairs = [(self._pruned[own].bits != 0, masks[name]) for own, name in shared.items()]
        return not all(kept.all() for kept, _ in pairs) and all(torch.equal(kept.to(m.device), m) for kept, m in pairs)

    def count(self, shared: Iterable[str]) -> int:
        """Number of weights that it prunes in these tensors."""
        return sum(int((self._pruned[name].bits == 0).sum()) for name in shared)

    def as_loaded(self, shared: Mapping[str, str]) -> dict[str, Tensor]:
        """The weights into which other values than 0 were loaded where it prunes since the last step, as loaded."""
        weights = self._weights()
        return {
            name: weights[own].detach().masked_scatter(self._pruned[own].where(weights[own]), loaded)
            for own, name in shared.items()
            if (loaded := self._loaded.get(own)) is not None
        }

    def cede(self, names: Iterable[str]) -> None:
        """Leave these weights to another hold, until that is removed if this one's `with` block is still open."""
        for name in names:
            pruned = self._pruned.pop(name)
            self._loaded.pop(name, None)
            if self._entered:
                self._ceded[name] = pruned
            self._watched.pop(name)[1].remove()
        if not self._pruned and not self._ceded:
            self._let_go()

    def end(self, weights: Mapping[str, nn.Parameter]) -> None:
        """Let go of these weights."""
        ids, own = {id(weight) for weight in weights.values()}, parameters_by_name(self._model)
        shared = self.shared(weights)
        self._warn_if_hiding(shared, stacklevel=4)
        self.cede(shared)
        for name in [name for name in self._ceded if id(own.get(name)) in ids]:
            del self._ceded[name]
        if not self._pruned and not self._ceded:
            self._let_go()

    def _warn_if_hiding(self, names: Iterable[str], stacklevel: int) -> None:
        if count := sum(int(self._loaded[name].count_nonzero()) for name in names if name in self._loaded):
            warnings.warn(
                f"{count:,} weights that were loaded under this hold were set to 0 and stay so: to have them, load "
                "them again now",
                HeldWarning,
                stacklevel=stacklevel,
            )

    def _resume(self) -> None:
        if not self._ceded:
            return
        own = parameters_by_name(self._model)
        taken = {id(weight) for other in _newest_first() for weight in other._weights().values()}
        free = [name for name in self._ceded if name in own and id(own[name]) not in taken]
        for name in free:
            self._pruned[name] = self._ceded.pop(name)
        self._enforce(free)

    def _let_go(self) -> None:
        _in_force.discard(self)
        _unhook(self._steps, self._anchored, self._watched)
        for state in (self._pruned, self._ceded, self._loaded):
            state.clear()

    def _weights(self) -> dict[str, nn.Parameter]:
        # A parameter that was replaced is met at the next step; until then the hold covers both.
        own = parameters_by_name(self._model)
        return {name: own[name] for name in self._pruned if name in own}

    def _enforce(self, names: Collection[str] | None = None) -> None:
        """Zero the pruned weights; watch the gradients of parameters that replaced others."""
        bits = {name: pruned.bits for name, pruned in self._pruned.items() if names is None or name in names}
        weights = masked_parameters(self._model, bits)
        fresh = {name: weight for name, weight in weights.items() if self._watched.get(name, (None,))[0] is not weight}
        # What may fail comes first, and leaves every number as it was.
        for name, weight in fresh.items():
            handle = _watch_gradient(weight, self._pruned[name])
            if name in self._watched:
                self._watched[name][1].remove()
            self._watched[name] = (weight, handle)
        if fresh:
            self._anchor()
        for name, weight in weights.items():
            with torch.no_grad():
                zero_pruned_(weight, self._pruned[name].bits_for(weight))
        for name, weight in fresh.items():
            self._pruned[name].zero_gradient(weight)

    def _anchor(self) -> None:
        """Follow loading into every owner of a masked weight, so that loading a part of the model counts too."""
        owners: dict[int, tuple[nn.Module, set[str]]] = {id(self._model): (self._model, set())}
        for name in self._pruned:
            owner, _ = module_of(self._model, name)
            owners.setdefault(id(owner), (owner, set()))[1].add(name)
        for gone in self._anchored.keys() - owners.keys():
            self._anchored.pop(gone).remove()
        for identity in owners.keys() - self._anchored.keys():
            owner, names = owners[identity]
            self._anchored[identity] = owner.register_load_state_dict_post_hook(_OnLoad(self, names))

    def _stepped(self) -> None:
        self._loaded.clear()
        self._enforce()

    def _overwritten(self, names: Collection[str]) -> None:
        """Zero the pruned weights among those that were loaded."""
        bits = {name: self._pruned[name].bits for name in names if name in self._pruned}
        for name, weight in masked_parameters(self._model, bits).items():
            values = weight.detach()[self._pruned[name].where(weight)]
            self._loaded.pop(name, None)
            if values.any():
                self._loaded[name] = values
        self._enforce(bits)


def holds_on(weights: Mapping[str, nn.Parameter]) -> list[tuple[Hold, dict[str, str]]]:
    """The holds in force on these weights: each with its own name for each of them -> the name here."""
    return [(hold, shared) for hold in _newest_first() if (shared := hold.shared(weights))]


def release(model: nn.Module) -> None:
    """End every hold in force on the weights of a model: from now on nothing keeps them at 0.

    The weights stay as they are. Call it before the dense weights are loaded again, if the handle was not kept.

    Examples:
        >>> start = {name: value.clone() for name, value in model.state_dict().items()}
        >>> handle = masks.hold(model, optimizer)
        >>> pm.release(model)
        >>> model.load_state_dict(start)  # dense again
        <All keys matched successfully>
    """
    weights = parameters_by_name(model)
    for hold in _newest_first():
        hold.end(weights)


def as_loaded(weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The weights that holds have masked since they were loaded, with their loaded values; warns if there are any."""
    found: dict[str, Tensor] = {}
    for hold, shared in holds_on(weights):
        found |= hold.as_loaded(shared)
    if found:
        count = sum(
            int(((weight.detach() == 0) & (found[name] != 0)).sum())
            for name, weight in weights.items()
            if name in found
        )
        warnings.warn(
            f"a hold in force set {count:,} weights to 0 that were loaded into this model; the network is scored as "
            "it was loaded, without these zeros (to score it with them, score a copy.deepcopy(model); to end the "
            "hold, call pm.release(model))",
            HeldWarning,
            stacklevel=4,
        )
    return found


def warn_if_held(weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
    """Warn where these masks keep what they do because of a hold in force.

    Pruning further what a hold has left is a different case: then the masks keep a part of what it keeps.
    """
    for hold, shared in holds_on(weights):
        if hold.as_loaded(shared):
            continue  # said when it was scored
        if hold.agrees(shared, masks) or hold.zeros_among(shared, masks):
            warnings.warn(
                f"a hold in force keeps {hold.count(shared):,} weights of this model at 0, and it was pruned with "
                "these zeros: to prune the network without them, end the hold (pm.release(model)) and load its "
                "weights again",
                HeldWarning,
                stacklevel=3,
            )
            return


def _newest_first() -> list[Hold]:
    return sorted(_in_force, key=lambda hold: -hold._number)  # pyright: ignore[reportPrivateUsage]


class _Pruned:
    """Pruned positions of one tensor, wherever the tensor goes."""

    def __init__(self, bits: Tensor) -> None:
        self.bits = bits

    def bits_for(self, weight: Tensor) -> Tensor:
        self.bits = bits_like(self.bits, weight)
        return self.bits

    def where(self, weight: Tensor) -> Tensor:
        """True where the weight is pruned."""
        return self.bits_for(weight) == 0

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


class _OnStep:
    """Called after an optimizer's step, which does not keep the hold alive."""

    def __init__(self, hold: Hold) -> None:
        self._hold = weakref.ref(hold)

    def __call__(self, *_: object) -> None:
        if (hold := self._hold()) is not None:
            hold._stepped()  # pyright: ignore[reportPrivateUsage]


class _OnLoad:
    """Called after a state dict was loaded. Copies and pickles of the module carry a call that does nothing."""

    def __init__(self, hold: Hold, names: Collection[str]) -> None:
        self._hold = hold
        self._names = names

    def __call__(self, module: nn.Module, incompatible_keys: Any) -> None:
        self._hold._overwritten(self._names)  # pyright: ignore[reportPrivateUsage]

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return _released, ()


def _released() -> Callable[[nn.Module, Any], None]:
    return _do_nothing


def _do_nothing(module: nn.Module, incompatible_keys: Any) -> None: ...


def _unhook(steps: list[Any], anchored: dict[int, Any], watched: dict[str, tuple[nn.Parameter, Any]]) -> None:
    for handle in (*steps, *anchored.values(), *(handle for _, handle in watched.values())):
        handle.remove()
    for handles in (steps, anchored, watched):
        handles.clear()


def _rehearse(name: str, weight: nn.Parameter) -> None:
    """Write nothing into the weight, the way that a hold writes zeros: what fails, fails before anything changes."""
    try:
        with torch.no_grad():
            weight.masked_fill_(torch.zeros((), dtype=torch.bool, device=weight.device), 0)
    except RuntimeError as error:
        raise ValueError(f"{name} cannot be held, because it cannot be written to: {error}") from error


def _watch_gradient(weight: nn.Parameter, pruned: _Pruned) -> Any:
    # A hook needs a tensor that requires gradients, but stays with one that is frozen now and thawed later.
    frozen = not weight.requires_grad
    if frozen:
        weight.requires_grad_(True)
    handle = weight.register_post_accumulate_grad_hook(pruned.zero_gradient)
    if frozen:
        weight.requires_grad_(False)
    return handle

"""Run a model on Signals, forward and backward, and read off which weights are on a path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prunemark.connectivity.calls import Call, of_constants, signals_in, tensors_in
from prunemark.connectivity.flops import Flops, totals
from prunemark.connectivity.memory import refuse_stale, share, write
from prunemark.connectivity.rules import RULES
from prunemark.connectivity.signals import CannotFollowError, Ledger, Signal, signal
from prunemark.masks import Masks
from prunemark.models.calling import Forward, Inputs
from prunemark.models.copies import independent_copy
from prunemark.models.isolation import isolated
from prunemark.models.prunable import device_of, parameters_by_name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TENSOR_PROPERTIES = _words(".T .mT .H .mH .data")
_IN_PLACE = _words("iadd isub imul itruediv idiv ipow iand ior ixor imatmul imod ifloordiv")
_VIEWS = _words("t transpose swapaxes swapdims squeeze unsqueeze")
_VALUES = _words("__bool__ __float__ __int__ __index__ __complex__ __array__")
_METADATA = _words(
    "size dim ndimension numel nelement stride storage_offset is_contiguous is_floating_point is_complex is_signed "
    "element_size get_device len has_names is_pinned is_shared is_inference is_tensor result_type can_cast "
    "is_same_size hash repr format dir reduce_ex is_set_to retain_grad register_hook get_default_dtype"
)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings of a run on Signals.

    Attributes:
        effective: per weight, which elements are kept and on a path from input to output.
        read: per weight, which of its units something reads through a kept weight, or as an output; weights used in
            a way that hides their units are missing.
        flops: per weight, the multiply-adds of its products.
        other_multiply_adds: of products without a masked weight.
        inputs, inputs_used: elements of one example, and those with a path to the output.
        outputs, outputs_reached: elements of the output for one example, and those with a path from the input.
    """

    effective: Mapping[str, Tensor]
    read: Mapping[str, Tensor]
    flops: Mapping[str, Flops]
    other_multiply_adds: int
    inputs: int
    inputs_used: int
    outputs: int
    outputs_reached: int


class _Probe(TorchFunctionMode):
    """While active, torch's functions act on Signals by `RULES`; parameters, unless frozen, are Signals to them."""

    def __init__(self, ledger: Ledger, weights: Mapping[int, Signal]) -> None:
        super().__init__()
        self._ledger = ledger
        self._weights = weights
        self._overwritten: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name, in_place = _rule_name(func)
        if name in _METADATA or (name.startswith(".") and name not in _TENSOR_PROPERTIES):
            with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage]
                return func(*args, **kwargs)
        given = self._with_weights((args, kwargs))
        self.check(given)
        if not signals_in(given):
            return func(*args, **kwargs)
        rule = RULES.get(name)
        if rule is None and not any(found.is_tracked for found in signals_in(given)):
            rule = of_constants
        if rule is None:
            raise CannotFollowError(
                f"topology has no rule for torch's {name}, which this model's forward uses; without input_shape= and "
                "data= it reports what needs no run of the model"
            )
        if kwargs.get("out") is not None:
            raise CannotFollowError(f"topology cannot follow torch's {name} with out=; use what it returns")
        if in_place and name != "setitem":
            func = getattr(Tensor, name, func)
        call = Call(function=func, name=name, args=given[0], kwargs=given[1], ledger=self._ledger)
        with torch._C.DisableTorchFunctionSubclass(), torch.enable_grad():  # pyright: ignore[reportPrivateUsage]
            made = rule(call)
            call.check()
            if made is not None and (in_place or kwargs.get("inplace")):
                return self._written(call.get(0, "input"), made, name)
            return made

    def check(self, value: Any) -> None:
        """Refuse tensors whose values are not known any more.

        Raises:
            CannotFollowError: what was written into another tensor may be in one of these.
        """
        for tensor in tensors_in(value):
            if isinstance(tensor, Signal):
                refuse_stale(tensor)
            elif any(share(tensor, other) for other in self._overwritten):
                raise CannotFollowError(
                    "topology cannot follow what was written into a tensor that does not depend on the input; use the "
                    "result of the change, or build the tensor with torch.cat or torch.stack"
                )

    def _written(self, target: Tensor, made: Signal, name: str) -> Signal:
        if made.shape != target.shape or name in _VIEWS:
            raise CannotFollowError(f"topology cannot follow torch's {name}_, which changes a shape in place")
        if isinstance(target, Signal):
            write(target, made)
            return target
        self._overwritten.append(target)
        return made

    def _with_weights(self, value: Any) -> Any:
        if isinstance(value, nn.Parameter):
            return self._weights.get(id(value), value)
        if isinstance(value, Mapping):
            return {key: self._with_weights(item) for key, item in value.items()}
        if type(value) in (tuple, list):
            return type(value)(self._with_weights(item) for item in value)
        return value


def _rule_name(func: Callable[..., Any]) -> tuple[str, bool]:
    """A function's name as in RULES, and whether it writes into its first argument."""
    name: str = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):
        attribute = f".{getattr(func, '__self__').__name__}"  # noqa: B009  # pyright knows no __self__ here
        written = name == "__set__" and attribute in _TENSOR_PROPERTIES
        return f"assignment to {attribute}" if written else attribute, False
    if name in _VALUES:
        return name, False
    plain = name.strip("_")
    if name.startswith("__"):
        return (plain[1:], True) if plain in _IN_PLACE else (plain, plain == "setitem")
    return plain, name.endswith("_")


def probe(model: nn.Module, masks: Masks, parameters: Mapping[str, str], inputs: Inputs, forward: Forward) -> Findings:
    """Find the kept weights on a path from input to output, for inputs of these shapes.

    Args:
        model: any module; a copy of it is run.
        masks: of its parameters.
        parameters: the name of the parameter behind each mask.
        inputs: one example with its batch axis, as `forward` takes it. Of floating-point tensors and of token ids
            only the shape matters; boolean tensors are given as they are.
        forward: (model, inputs) -> outputs.

    Raises:
        ValueError: the model does not run on such inputs, or uses a function that cannot be followed.
    """
    private = independent_copy(model).eval()
    device = device_of(private)
    with isolated(0, "topology", device=device):
        ledger = Ledger()
        by_name = parameters_by_name(private)
        weights = {id(by_name[parameters[name]]): ledger.weight(name, mask.to(device)) for name, mask in masks.items()}
        for parameter in private.parameters():
            # Its value now says nothing about its value after training: zero at initialisation is alive. What training
            # leaves as it is (indices, fixed masks) counts by its own value.
            if id(parameter) not in weights and parameter.requires_grad:
                alive = torch.ones(parameter.shape, dtype=torch.float32, device=parameter.device)
                weights[id(parameter)] = signal(None, alive)
        given = _as_inputs(ledger, inputs, device)
        try:
            with _Probe(ledger, weights) as mode:
                outputs = forward(private, given)
        except CannotFollowError:
            raise
        except Exception as error:
            raise ValueError(
                f"{type(private).__name__} does not run on one example of shape {_shapes(inputs)}: {error}"
            ) from error
        reached, elements = _outputs(mode, outputs)
        try:
            return _findings(ledger, masks, reached, elements)
        except RuntimeError as error:
            raise CannotFollowError(
                f"topology cannot go back through {type(private).__name__}, which takes part in the backward pass "
                f"itself, as torch.utils.checkpoint does: {type(error).__name__}"
            ) from error


def _as_inputs(ledger: Ledger, value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        if value.dtype == torch.bool:
            return value.to(device)
        like = None if value.is_floating_point() else value.to(device)
        plane = ledger.input(value.shape, device)
        return signal(plane, plane, like=like)
    if isinstance(value, Mapping):
        return {key: _as_inputs(ledger, item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_as_inputs(ledger, item, device) for item in value)
    return value


def _shapes(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape[1:]))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shapes(item)}" for key, item in value.items()) + "}"
    return ", ".join(_shapes(item) for item in value) if isinstance(value, tuple | list) else type(value).__name__


def _outputs(mode: _Probe, value: Any) -> tuple[list[Tensor], int]:
    """The reach planes of the outputs, and the number of their elements, constant ones included."""
    if isinstance(value, Tensor):
        mode.check(value)
        reach = value.reach if isinstance(value, Signal) else None
        # A softmax over one element leaves a plane of zeros that no path leads to.
        return ([reach] if reach is not None and reach.requires_grad else []), value.numel()
    if isinstance(value, Mapping):
        value = tuple(value.values())
    elif is_dataclass(value):
        value = tuple(getattr(value, f.name) for f in fields(value))
    planes: list[Tensor] = []
    elements = 0
    if isinstance(value, tuple | list):
        for item in value:
            found, count = _outputs(mode, item)
            planes += found
            elements += count
    return planes, elements


def _findings(ledger: Ledger, masks: Masks, reached: list[Tensor], elements: int) -> Findings:
    ones = [torch.ones_like(plane) for plane in reached]
    computed = [plane for product in ledger.computed for plane in product.planes]
    sources = [*ledger.inputs, *ledger.weights.values(), *computed]
    if reached:
        grads = torch.autograd.grad(reached, sources, ones, retain_graph=True, materialize_grads=True)
        ledger.one_step = True
        torch.autograd.grad(reached, ledger.inputs, ones, allow_unused=True)
    else:
        grads = [torch.zeros_like(source) for source in sources]
    counts = [len(ledger.inputs), len(ledger.weights), len(computed)]
    on_inputs, on_weights, on_computed = (grads[sum(counts[:at]) : sum(counts[: at + 1])] for at in range(3))
    effective = {
        name: (grad > 0).to(masks[name].device) & masks[name]
        for name, grad in zip(ledger.weights, on_weights, strict=True)
    }
    return Findings(
        effective=effective,
        read={name: used for name, used in ledger.used.items() if ledger.seen[name].all()},
        flops=totals(ledger, masks, effective, on_computed),
        other_multiply_adds=ledger.other_multiply_adds,
        inputs=sum(plane.numel() for plane in ledger.inputs),
        inputs_used=sum(int((grad > 0).sum()) for grad in on_inputs),
        outputs=elements,
        outputs_reached=sum(int((plane > 0).sum()) for plane in reached),
    )

"""Which unit feeds which: how the units of a model's layers connect, whatever lies between the layers."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from prunemark.models.prunable import module_of, prunable
from prunemark.randomness import generator

_Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
# Derivatives below this share of the largest are rounding noise.
_NOISE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Call:
    """One use of a layer in a forward pass.

    A layer maps units to units: channels of a convolution, features of a linear map.

    Attributes:
        layer: name of its weight.
        shape: of the weight as (output units, input units per group, entries per kernel).
        groups: of a grouped convolution; 1 otherwise.
        from_input: per input unit, whether the model's input reaches it through no other layer.
        to_output: per output unit, whether it reaches the model's output through no other layer.
    """

    layer: str
    shape: tuple[int, int, int]
    groups: int
    from_input: Tensor
    to_output: Tensor

    @property
    def weights(self) -> int:
        """How many weights the layer has."""
        outputs, inputs_per_group, kernel = self.shape
        return outputs * inputs_per_group * kernel


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The calls of a forward pass in order, and the wires between them that pass no other layer.

    `wires[source, sink]` lists, for two calls by number, pairs (output unit, input unit) that are connected.
    """

    calls: tuple[Call, ...]
    wires: dict[tuple[int, int], tuple[Tensor, Tensor]]


def wire(model: nn.Module, forward: Callable[[nn.Module, Any], Any], input_shape: tuple[int, ...]) -> Wiring:
    """Find the wires of a model by probing, without data; the model's parameters and buffers are overwritten.

    Each layer's output is cut off and replaced by fresh positive numbers, one layer's with a derivative that spells
    each unit's number in binary; what arrives at the next layers' inputs says which unit it came from (forward-mode
    differentiation, one pass per call). This sees through what passes small positive numbers on: ReLU and its kin,
    pooling, BatchNorm with running statistics, flattening, padding, slicing, addition (shortcuts), concatenation and
    squeeze-and-excitation gates. Not through what passes negative numbers only (half of a concatenated ReLU), and of
    the operands of a maximum it follows the larger one.

    Args:
        model: a private copy, which is moved to float64 on the CPU, its normalisation made positive; its layers'
            weights are let go of.
        forward: (model, inputs) -> outputs.
        input_shape: shape of one example, without the batch axis.

    Raises:
        ValueError: the model does not take one tensor of floats or give one tensor; a weight of something other than
            a linear map or a convolution, or one that is never called as a module; units that mix without a weight
            of their own between them (LayerNorm, GroupNorm, attention); an operation without a forward derivative;
            layers whose first axis is not the batch; nothing arrives at a layer or at the output, since thresholds or
            signs between layers do not pass small positive numbers on; a random function.
    """
    # torch's first dual number compiles formulas with a function that torch has deprecated.
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
    probe = _Probe(model, forward, input_shape)
    probe.run(source=None)
    missing = set(prunable(model)) - {call.layer for call in probe.calls}
    if missing:
        raise ValueError(f"the units of {sorted(missing)} cannot be followed: the layer's forward is never called")
    for number in range(len(probe.calls)):
        probe.run(source=number)
    probe.require_arrivals()
    return Wiring(calls=tuple(probe.calls), wires=probe.wires)


@dataclass
class _Probe:
    model: nn.Module
    forward: Callable[[nn.Module, Any], Any]
    input_shape: tuple[int, ...]
    calls: list[Call] = field(default_factory=list[Call])
    wires: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict[tuple[int, int], tuple[Tensor, Tensor]]
    )
    _source: int | None = None
    _number: int = 0
    _codes: int = 1
    _received: dict[int, float] = field(default_factory=dict[int, float])

    def __post_init__(self) -> None:
        self._layers = _layers(self.model)
        # What layers compute is replaced, so that their weights need no more than a shape.
        shapes = {layer: layer.weight.shape for layer in self._layers}
        for layer in shapes:
            layer.weight.data = torch.empty(0, device=layer.weight.device)
        self.model.to("cpu", torch.float64).eval()
        _make_positive_(self.model)
        for layer, shape in shapes.items():
            layer.weight.data = torch.ones((), dtype=torch.float64).expand(shape)

    def run(self, source: int | None) -> None:
        """One pass, in which the outputs of call `source`, or the model's input, carry derivatives."""
        self._source, self._number = source, 0
        units = 1 if source is None else len(self.calls[source].to_output)
        self._codes = 1 + (units - 1).bit_length()
        handles = [
            handle
            for layer in self._layers
            for handle in (
                layer.register_forward_pre_hook(self._receive, with_kwargs=True),
                layer.register_forward_hook(self._replace),
            )
        ]
        try:
            with torch.no_grad(), forward_ad.dual_level():
                inputs = _positive(self.input_shape, "input").expand(self._codes, *self.input_shape).contiguous()
                if source is None:
                    inputs = forward_ad.make_dual(inputs, inputs.clone())
                outputs = self.forward(self.model, inputs)
                if not isinstance(outputs, Tensor):
                    kind = type(outputs).__name__
                    raise ValueError(f"paths are followed to an output that is one tensor; the model gives a {kind}")
                tangent = forward_ad.unpack_dual(outputs).tangent
                if source is not None and tangent is not None:
                    self._arrive_at_output(source, tangent)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"paths cannot be followed through {type(self.model).__name__}, fed one tensor of floats of shape "
                f"{tuple(self.input_shape)} without the batch axis; for other inputs (tokens, say) pass "
                f"forward=(model, inputs) -> logits, which enters behind the embedding: {error}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def require_arrivals(self) -> None:
        """Raise a ValueError where the input reaches neither a layer nor the output."""
        wired = {sink for _, sink in self.wires}
        blocked = [call.layer for k, call in enumerate(self.calls) if k not in wired and not call.from_input.any()]
        if not any(call.to_output.any() for call in self.calls):
            blocked.append("the output")
        if blocked:
            raise ValueError(
                f"no path was found to {blocked[0]}: paths are followed by small positive numbers (about 0.001), which "
                "what lies before it does not pass on, as thresholds, signs or constant inputs do not"
            )

    def _receive(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note what arrives at a layer's input; pass on one plain example."""
        assert isinstance(layer, _Layer)
        primal, tangent = forward_ad.unpack_dual((*args, *kwargs.values())[0])
        name = self._layers[layer]
        # The same in every pass, since layers' outputs are, but for rounding.
        received = float(primal[0].sum())
        if not math.isclose(self._received.setdefault(self._number, received), received, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(
                f"paths cannot be followed to {name}: it receives other numbers each time, although the model is in "
                "eval mode; is there a dropout that does not ask for self.training?"
            )
        if primal.shape[0] != self._codes:
            raise ValueError(f"paths are followed with the batch as first axis; {name} gets {tuple(primal.shape)}")
        axis = 1 if not isinstance(layer, nn.Linear) else primal.ndim - 1
        units = primal.shape[axis]
        if self._source is None:
            groups = 1 if isinstance(layer, nn.Linear) else layer.groups
            outputs, inputs_per_group = layer.weight.shape[:2]
            reached = torch.zeros(units, dtype=torch.bool)
            if tangent is not None:
                reached = _noticeable(tangent[0].movedim(axis - 1, 0).reshape(units, -1)).any(1)
            self.calls.append(
                Call(
                    layer=name,
                    shape=(outputs, inputs_per_group, layer.weight[0, 0].numel()),
                    groups=groups,
                    from_input=reached,
                    to_output=torch.zeros(outputs, dtype=torch.bool),
                )
            )
        elif tangent is not None:
            self._arrive(self._source, tangent.movedim(axis, 1).reshape(self._codes, units, -1))
        return (primal[:1].contiguous(),), {}

    def _replace(self, layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Cut a layer's output off: fresh positive numbers, with codes if it is the source."""
        example = _positive(tuple(output.shape[1:]), self._number)
        fresh = example.expand(self._codes, *example.shape).contiguous()
        if self._number == self._source:
            axis = 0 if not isinstance(layer, nn.Linear) else example.ndim - 1
            units = torch.arange(example.shape[axis])
            bits = [torch.ones_like(units), *((units >> bit) & 1 for bit in range(self._codes - 1))]
            shape = [self._codes] + [1] * example.ndim
            shape[1 + axis] = len(units)
            # Not constant over positions, or normalising over them would hide it.
            fresh = forward_ad.make_dual(fresh, torch.stack(bits).view(shape) * example)
        self._number += 1
        return fresh

    def _arrive(self, source: int, tangent: Tensor) -> None:
        """Read which unit of the source reaches each unit of a sink; tangent: codes x units x positions."""
        noticed, numbers, mixed = _decode(tangent)
        first = numbers.where(noticed, -1).amax(1)
        if mixed or (noticed & (numbers != first[:, None])).any():
            start, end = self.calls[source].layer, self.calls[self._number].layer
            raise ValueError(
                f"paths cannot be followed from {start} to {end}: between them units mix without a prunable weight of "
                "their own, as in LayerNorm, GroupNorm or attention (or examples, in a BatchNorm without running "
                "statistics)"
            )
        sinks = noticed.any(1).nonzero().squeeze(1)
        if len(sinks):
            self.wires[source, self._number] = (first[sinks], sinks)

    def _arrive_at_output(self, source: int, tangent: Tensor) -> None:
        noticed, numbers, mixed = _decode(tangent.reshape(self._codes, -1, 1))
        reach = self.calls[source].to_output
        if mixed:  # as a softmax does: every unit of the last layer reaches every output
            reach.fill_(True)
        else:
            reach[numbers[noticed]] = True


def _decode(tangent: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Where something arrives, the number it spells there, and whether some of it spells none."""
    noticed = _noticeable(tangent[0])
    ratios = tangent[1:] / tangent[0].where(noticed, 1)
    bits = ratios.round()
    mixed = bool((noticed & ((ratios - bits).abs() > 1e-6)).any() or (noticed & (bits != 0) & (bits != 1)).any())
    powers = 2 ** torch.arange(len(bits)).view(-1, 1, 1)
    return noticed, (bits.long() * powers).sum(0), mixed


def _noticeable(tangent: Tensor) -> Tensor:
    size = tangent.abs()
    return size > _NOISE * size.max()


def _layers(model: nn.Module) -> dict[_Layer, str]:
    """The linear maps and convolutions with a prunable weight -> the weight's name."""
    weights = prunable(model)
    for name in weights:
        module, _ = module_of(model, name)
        if not isinstance(module, _Layer):
            kind = type(module).__name__
            raise ValueError(
                "paths are followed through linear maps and convolutions (not transposed), pruned or not; "
                f"{name} is of {kind}"
            )
    names = {id(weight): name for name, weight in weights.items()}
    return {
        module: names[id(module.weight)]
        for module in model.modules()
        if isinstance(module, _Layer) and id(module.weight) in names
    }


def _make_positive_(model: nn.Module) -> None:
    """Make what lies between the layers pass every positive signal on."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().clamp_(min=1e-3)
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                if module.track_running_stats:
                    module.reset_running_stats()
                if module.affine:
                    module.weight.fill_(1)
                    module.bias.zero_()


def _positive(shape: tuple[int, ...], purpose: int | str) -> Tensor:
    """Numbers in [0.001, 0.002): far from where ReLU6 and its like saturate."""
    source = generator(0, "wiring", purpose)
    return 1e-3 * (1 + torch.rand(shape, generator=source, dtype=torch.float64))

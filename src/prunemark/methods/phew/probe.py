"""`Probe`: forward passes that find which units' outputs arrive where, one layer's call at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from prunemark.methods.phew.codes import among, binary_codes, decode, noticeable, of_others
from prunemark.methods.phew.general_position import Layer, fresh_numbers, prepare_
from prunemark.methods.phew.layer_call import LayerCall

_OUTPUT = -1  # instead of the number of a call
# Sizes of the numbers that a layer gives and that all others give, tried in turn until nothing is lost. Small ones pass
# what saturates, large ones pass thresholds, and by sign and size either operand of a maximum or a - b is on top.
_DRAWS = (
    (0.001, 0.001), (-0.001, 0.001), (3, 0.001), (-3, 0.001), (0.001, 3), (-0.001, 3), (0.001, -0.001), (0.001, -3),
    (-0.001, -3), (100, 0.001), (-100, 0.001), (0.001, 100), (0.001, -100),
)  # fmt: skip
# What small numbers of the source are changed to beside others of some size, to see where they are used; and whether
# that is done unit by unit. The others are so that they let through what they gate.
_CHANGES = ((3, 0.001, True), (-3, -0.001, True), (3, -3, False), (-3, 3, False), (100, 3, False), (-100, 3, False))


@dataclass
class Probe:
    """A model, fed with numbers that tell where they come from, and what that has shown so far of its wires."""

    model: nn.Module
    forward: Callable[[nn.Module, Any], Any]
    input_shape: tuple[int, ...]
    calls: list[LayerCall] = field(default_factory=list[LayerCall])
    wires: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict[tuple[int, int], tuple[Tensor, Tensor]]
    )
    _source: int | None = None
    _number: int = 0
    _rows: int = 1
    _sizes: tuple[float, float] = _DRAWS[0]
    _changed: float | None = None
    _by_unit: bool = True
    _received: dict[int, float] = field(default_factory=dict[int, float])
    # Of the source, per sink: the unit that arrives at each of its units, -1 for none; where the source is used at all;
    # and, a row for each of `binary_codes`, where its units are.
    _arrived: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    _used: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    _patterns: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def __post_init__(self) -> None:
        self._layers = prepare_(self.model)

    def run(self, source: int | None) -> None:
        """Find where the outputs of call `source`, or the model's input, arrive.

        Raises:
            ValueError: they are used somewhere where they do not arrive, or mix there.
        """
        self._source, self._arrived, self._used, self._patterns = source, {}, {}, {}
        self._pass(_DRAWS[0])
        if source is None:
            # Layers must receive the same again.
            self._pass(_DRAWS[0])
        for changed, others, by_unit in _CHANGES:
            self._pass((0.001, others), changed=changed, by_unit=by_unit)
        for sizes in _DRAWS[1:]:
            if self._lost() is None:
                break
            self._pass(sizes)
        lost = self._lost()
        if lost is not None:
            raise ValueError(
                f"no path was found from {self._name(source)} to {self._name(lost)}, which it leads to: what is "
                "computed between has no derivative at any of the numbers tried; signs and detached tensors have none"
            )
        self._note()

    def _name(self, number: int | None) -> str:
        return "the input" if number is None else "the output" if number == _OUTPUT else self.calls[number].layer

    def _lost(self) -> int | None:
        """A sink where the source is used, but does not arrive."""
        nowhere = torch.tensor(-1)
        sinks = (k for k, used in self._used.items() if (used & (self._arrived.get(k, nowhere) < 0)).any())
        return next(sinks, None)

    def _note(self) -> None:
        """Keep what was found of the source."""
        for number, arrived in self._arrived.items():
            used = self._patterns.get(number)
            others = torch.zeros_like(arrived, dtype=torch.bool) if used is None else of_others(used, arrived)
            if self._source is None:
                if number != _OUTPUT:
                    self.calls[number].from_input.copy_(arrived >= 0)
            elif number == _OUTPUT:
                reach = self.calls[self._source].to_output
                reach[arrived[arrived >= 0]] = True
                if used is not None and others.any():
                    reach |= among(used[1:, others].unique(dim=1), len(reach))
            elif others.any():
                self._refuse_mixing(number)
            elif (arrived >= 0).any():
                sinks = (arrived >= 0).nonzero().squeeze(1)
                self.wires[self._source, number] = (arrived[sinks], sinks)

    def _refuse_mixing(self, number: int) -> None:
        raise ValueError(
            f"paths cannot be followed from {self._name(self._source)} to {self._name(number)}: between them units mix "
            "without a prunable weight of their own, as in LayerNorm, GroupNorm, attention or maxima over units (or "
            "examples, in a BatchNorm without running statistics)"
        )

    def _pass(self, sizes: tuple[float, float], *, changed: float | None = None, by_unit: bool = True) -> None:
        """Run the model, the source with derivatives, or with some of its units changed instead."""
        source = self._source
        self._sizes, self._changed, self._by_unit, self._number = sizes, changed, by_unit, 0
        units = 1 if source is None else len(self.calls[source].to_output)
        bits = (units - 1).bit_length()
        self._rows = 1 + bits if changed is None else 2 + 2 * bits * by_unit
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
                size = self._sizes[0 if source is None else 1]
                inputs = (
                    fresh_numbers(self.input_shape, "input", size).expand(self._rows, *self.input_shape).contiguous()
                )
                if source is None:
                    inputs = self._as_source(inputs, torch.ones_like(inputs[:1], dtype=torch.bool))
                outputs = self.forward(self.model, inputs)
                if not isinstance(outputs, Tensor):
                    kind = type(outputs).__name__
                    raise ValueError(f"paths are followed to an output that is one tensor; the model gives a {kind}")
                self._arrive_at_output(outputs)
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
                f"no path was found to {blocked[0]}: nothing that depends on the input arrives there; does it see only "
                "constants?"
            )

    def _receive(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note what arrives at a layer's input; pass on one plain example."""
        assert isinstance(layer, Layer)
        primal, tangent = forward_ad.unpack_dual((*args, *kwargs.values())[0])
        name = self._layers[layer]
        if self._sizes == _DRAWS[0] and self._changed is None:
            # The same in every such pass, since layers' outputs are, but for rounding.
            received = float(primal[0].sum())
            before = self._received.setdefault(self._number, received)
            if not math.isclose(before, received, rel_tol=1e-9, abs_tol=1e-12):
                raise ValueError(
                    f"paths cannot be followed to {name}: it receives other numbers each time, although the model is "
                    "in eval mode; is there a dropout that does not ask for self.training?"
                )
        if primal.shape[0] != self._rows:
            raise ValueError(f"paths are followed with the batch as first axis; {name} gets {tuple(primal.shape)}")
        axis = 1 if not isinstance(layer, nn.Linear) else primal.ndim - 1
        units = primal.shape[axis]
        if self._number == len(self.calls):
            groups = 1 if isinstance(layer, nn.Linear) else layer.groups
            outputs, inputs_per_group = layer.weight.shape[:2]
            self.calls.append(
                LayerCall(
                    layer=name,
                    shape=(outputs, inputs_per_group, layer.weight[0, 0].numel()),
                    groups=groups,
                    from_input=torch.zeros(units, dtype=torch.bool),
                    to_output=torch.zeros(outputs, dtype=torch.bool),
                )
            )
        if self._changed is not None:
            self._use(self._number, primal.movedim(axis, 1).reshape(self._rows, units, -1))
        elif tangent is not None:
            self._arrive(self._number, tangent.movedim(axis, 1).reshape(self._rows, units, -1))
        return (primal[:1].contiguous(),), {}

    def _replace(self, layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Cut a layer's output off: fresh numbers, with codes if it is the source."""
        is_source = self._number == self._source
        example = fresh_numbers(tuple(output.shape[1:]), self._number, self._sizes[0 if is_source else 1])
        fresh = example.expand(self._rows, *example.shape).contiguous()
        if is_source:
            axis = 0 if not isinstance(layer, nn.Linear) else example.ndim - 1
            units = torch.arange(example.shape[axis])
            shape = [self._rows] + [1] * example.ndim
            shape[1 + axis] = len(units)
            codes = binary_codes(units, with_complements=self._changed is not None)
            if self._changed is not None:
                codes = codes[: self._rows - 1]
            shape[0] = len(codes)
            fresh = self._as_source(fresh, codes.view(shape))
        self._number += 1
        return fresh

    def _as_source(self, fresh: Tensor, codes: Tensor) -> Tensor:
        """Numbers of the source with the derivatives of each code; or, behind a row as it is, changed where one is."""
        if self._changed is None:
            # Derivatives are not constant over positions, or normalising over them would hide them.
            return forward_ad.make_dual(fresh, codes * fresh)
        factor = self._changed / self._sizes[0]
        return torch.cat([fresh[:1], fresh[1:].where(~codes, fresh[1:] * factor)])

    def _use(self, number: int, primal: Tensor) -> None:
        """Note which units of a sink change with the source; primal: a row as it is and codes x units x positions."""
        change = (primal[1:] - primal[0]).abs()
        noticed = noticeable(change.nan_to_num(0, 0)) | (change.isnan() & ~primal[0].isnan()) | change.isinf()
        used = noticed.any(2)
        self._used[number] = self._used.get(number, torch.zeros_like(used[0])) | used[0]
        if self._by_unit:
            self._patterns[number] = self._patterns.get(number, torch.zeros_like(used)) | used

    def _arrive(self, number: int, tangent: Tensor) -> None:
        """Read which unit of the source reaches each unit of a sink; tangent: codes x units x positions."""
        noticed, numbers, mixed = decode(tangent)
        first = numbers.where(noticed, -1).amax(1)
        before = self._arrived.get(number, torch.full_like(first, -1))
        if (
            mixed
            or (noticed & (numbers != first[:, None])).any()
            or ((before >= 0) & (first >= 0) & (before != first)).any()
        ):
            self._refuse_mixing(number)
        self._arrived[number] = torch.maximum(before, first)

    def _arrive_at_output(self, outputs: Tensor) -> None:
        primal, tangent = forward_ad.unpack_dual(outputs)
        if self._changed is not None:
            self._use(_OUTPUT, primal.reshape(self._rows, -1, 1))
        elif tangent is not None:
            noticed, numbers, mixed = decode(tangent.reshape(self._rows, -1, 1))
            arrived = numbers.where(noticed, -1).squeeze(1)
            if mixed and self._source is not None:
                # As a softmax does: every unit of the last layer reaches every output.
                self.calls[self._source].to_output.fill_(True)
                arrived = arrived.clamp(max=0)
            elif self._source is not None:
                self.calls[self._source].to_output[numbers[noticed]] = True
            self._arrived[_OUTPUT] = torch.maximum(self._arrived.get(_OUTPUT, arrived), arrived)

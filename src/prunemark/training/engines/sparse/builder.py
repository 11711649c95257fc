"""From a graph and masks to a program of kernels: buffers, offsets, and the backward pass."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunemark.training.engines.sparse.graph import Convolution, Graph, Join, Pool, UnsupportedError
from prunemark.training.engines.sparse.kernels import Program
from prunemark.training.engines.sparse.liveness import live_channels
from prunemark.training.engines.sparse.patterns import (
    KeptWeights,
    Layout,
    Rows,
    backward_pad,
    backward_rows,
    forward_pad,
    forward_rows,
)

_NONE = np.zeros(0, np.int32)


@dataclass(frozen=True)
class Stored:
    """A parameter of the network as the program holds it: its values at some positions of the flattened tensor.

    Attributes:
        id: of the program's parameter.
        positions: None where all values are held.
    """

    id: int
    positions: Tensor | None


@dataclass
class Built:
    """A program, and what of the network is in it.

    Attributes:
        parameters: by the network's names.
        normalisations: BatchNorm module name -> number in the program.
        operations: what each operation of the program does, forward and then backward, in words.
        layers: the weight that each of them multiplies by or finds the gradient of, by its name; "" for all others.
        tensors: name in the graph -> number in the program, for tests.
        multiplications: of one example's forward pass, kept weights of live units only.
        dense_multiplications: the same without masks.
    """

    program: Program
    parameters: dict[str, Stored] = field(default_factory=dict[str, Stored])
    normalisations: dict[str, int] = field(default_factory=dict[str, int])
    operations: list[str] = field(default_factory=list[str])
    layers: list[str] = field(default_factory=list[str])
    tensors: dict[str, int] = field(default_factory=dict[str, int])
    multiplications: int = 0
    dense_multiplications: int = 0


def build(graph: Graph, model: nn.Module, masks: Mapping[str, Tensor], program: Program) -> Built:
    """Fill a new program with the training step of a masked network.

    Args:
        graph: the network's operations, by `trace`.
        model: has the parameters' values and the running statistics.
        masks: parameter name -> boolean tensor of its shape, True = kept.
        program: has no operations yet.

    Raises:
        UnsupportedError: a mask on something else than a weight of the graph.
    """
    return _Builder(graph, model, masks, program).build()


class _Builder:
    def __init__(self, graph: Graph, model: nn.Module, masks: Mapping[str, Tensor], program: Program) -> None:
        self.graph = graph
        self.model = model
        self.masks = masks
        self.program = program
        self.values = dict(model.named_parameters())
        self.uses = graph.uses()
        self.built = Built(program)
        self.kept = _kept(graph, self.values, masks)
        self.live = live_channels(graph, self.kept)
        self.pads = self._pads()
        self.weights: dict[str, KeptWeights] = {}
        self.rows: dict[str, Rows] = {}
        self.gradients: dict[str, int] = {}
        self.free: dict[tuple[int, ...], list[int]] = {}
        self.keys: dict[int, tuple[int, ...]] = {}
        self.deferred: dict[str, list[tuple[Convolution, int]]] = {}

    def build(self) -> Built:
        self._forward()
        self.gradients[self.graph.logits] = self._borrow(self.graph.logits)
        self._run("cross_entropy", self._tensor(self.graph.logits), self.gradients[self.graph.logits])
        for operation in reversed(self.graph.operations):
            for late, gradient in self.deferred.pop(operation.target, []):
                self._input_gradient(late, gradient)
                self._give_back(gradient)
            gradient = self.gradients.pop(operation.target)
            match operation:
                case Convolution():
                    self._weight_gradient(operation, gradient)
                    if operation.source == self.graph.input:
                        self._give_back(gradient)
                    elif self._reaches_few(operation):
                        self.deferred.setdefault(operation.source, []).append((operation, gradient))
                    else:
                        self._input_gradient(operation, gradient)
                        self._give_back(gradient)
                case Join():
                    self._join_backward(operation, gradient)
                case Pool():
                    self._pool_backward(operation, gradient)
                    self._give_back(gradient)
        return self.built

    def _run(self, operation: str, *arguments: object, layer: str = "") -> None:
        """Append an operation to the program."""
        getattr(self.program, operation)(*arguments)
        self.built.layers.append(layer)
        shape = "" if operation != "convolve" else " backward" if arguments[0] else " forward"
        self.built.operations.append(operation + shape)

    # -- weights and memory

    def _pads(self) -> dict[tuple[int, int], int]:
        """The border of all tensors of one size, so that what is added has one layout."""
        pads: dict[tuple[int, int], int] = {}
        for operation in self.graph.operations:
            if isinstance(operation, Convolution):
                shapes = self.graph.shapes[operation.source], self.graph.shapes[operation.target]
                for shape, pad in zip(shapes, (forward_pad, backward_pad), strict=True):
                    side = shape[1:]
                    pads[side] = max(pads.get(side, 0), pad(operation, shapes))
        return pads

    def _key(self, name: str) -> tuple[int, ...]:
        _, height, width = self.graph.shapes[name]
        return len(self.live[name]), height, width, self.pads.get((height, width), 0)

    def _tensor(self, name: str) -> int:
        if name not in self.built.tensors:
            self.built.tensors[name] = self.program.tensor(*self._key(name))
        return self.built.tensors[name]

    def _borrow(self, name: str) -> int:
        """A buffer for the gradient of a tensor. Its border is zero: only inner cells are ever written."""
        key = self._key(name)
        waiting = self.free.setdefault(key, [])
        buffer = waiting.pop() if waiting else self.program.tensor(*key)
        self.keys[buffer] = key
        return buffer

    def _give_back(self, buffer: int) -> None:
        self.free[self.keys[buffer]].append(buffer)

    def _layout(self, name: str) -> Layout:
        channels = self.graph.shapes[name][0]
        place = np.full(channels, -1, np.intp)
        place[self.live[name]] = np.arange(len(self.live[name]))
        _, row, channel = self.program.strides(self._tensor(name))
        return Layout(row, channel, place, len(self.live[name]))

    def _store(self, name: str, positions: Tensor | None) -> int:
        values = self.values[name].detach().flatten()
        chosen = values if positions is None else values[positions]
        number = self.program.parameter(chosen.contiguous().numpy())
        self.built.parameters[name] = Stored(number, positions)
        return number

    # -- forward

    def _forward(self) -> None:
        self._run(
            "pack", self._tensor(self.graph.input), self._origin(), math.prod(self.graph.shapes[self.graph.input])
        )
        for operation in self.graph.operations:
            match operation:
                case Convolution():
                    self._convolution(operation)
                case Join():
                    self._join(operation)
                case Pool():
                    self._run(
                        "pool",
                        self._tensor(operation.source),
                        self._tensor(operation.target),
                        [*operation.kernel, *operation.stride, *operation.padding],
                        operation.count_padding,
                        operation.maximum,
                    )

    def _origin(self) -> NDArray[np.int32]:
        channels = self.live[self.graph.input]
        zeros = np.zeros_like(channels)
        if not self.graph.flat_input:
            return np.stack([channels, zeros, zeros], axis=1).reshape(-1).astype(np.int32)
        return np.stack([zeros, zeros, channels], axis=1).reshape(-1).astype(np.int32)

    def _convolution(self, operation: Convolution) -> None:
        kept = self.kept[operation.weight]
        positions = None if kept.all() else torch.from_numpy(np.flatnonzero(kept))
        weight = self._store(operation.weight, positions)
        weights = self.weights[operation.target] = KeptWeights.of(operation, kept)
        rows = self.rows[operation.target] = forward_rows(
            operation, weights, self._layout(operation.source), self._layout(operation.target)
        )
        bias = -1 if operation.bias is None else self._store(operation.bias, None)
        _, height, width = self.graph.shapes[operation.target]
        self._run(
            "convolve",
            False,
            self._tensor(operation.source),
            self._tensor(operation.target),
            weight,
            rows.begin,
            rows.end,
            rows.offset,
            rows.order,
            operation.stride,
            [0, 0, height, width, 1],
            bias,
            self._bias_rows(operation),
            False,
            layer=operation.weight,
        )
        self.built.multiplications += int((rows.end - rows.begin).sum()) * height * width
        self.built.dense_multiplications += kept.size * height * width

    def _bias_rows(self, operation: Convolution) -> NDArray[np.int32]:
        return _NONE if operation.bias is None else self.live[operation.target].astype(np.int32)

    def _join(self, operation: Join) -> None:
        number = -1
        if operation.normalisation is not None:
            number = self._normalisation(operation.normalisation, self.live[operation.source])
        elif self.uses[operation.source] == 1 and operation.source in self.rows:
            # Nothing reads a convolution's output again, so that this happens in place.
            self.built.tensors[operation.target] = self._tensor(operation.source)  # in place
        residual = -1 if operation.residual is None else self._tensor(operation.residual)
        self._run(
            "join", self._tensor(operation.source), number, residual, self._tensor(operation.target), operation.relu
        )

    def _normalisation(self, name: str, channels: NDArray[np.intp]) -> int:
        module = self.model.get_submodule(name)
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        assert module.running_mean is not None
        assert module.running_var is not None
        affine = module.affine
        number = self.program.normalisation(
            self._store(f"{name}.weight", None) if affine else -1,
            self._store(f"{name}.bias", None) if affine else -1,
            channels.astype(np.int32),
            module.running_mean.numpy(),
            module.running_var.numpy(),
            module.eps,
            -1.0 if module.momentum is None else module.momentum,
            int(module.num_batches_tracked) if module.num_batches_tracked is not None else 0,
        )
        self.built.normalisations[name] = number
        return number

    # -- backward

    def _into(self, name: str) -> tuple[int, bool]:
        """The buffer of a tensor's gradient, and whether it already holds a part of it."""
        if name in self.gradients:
            return self.gradients[name], True
        self.gradients[name] = self._borrow(name)
        return self.gradients[name], False

    def _weight_gradient(self, operation: Convolution, gradient: int) -> None:
        weight = self.built.parameters[operation.weight].id
        rows = self.rows[operation.target]
        self._run(
            "weight_gradient",
            self._tensor(operation.source),
            gradient,
            weight,
            rows.begin,
            rows.end,
            rows.offset,
            operation.stride,
            -1 if operation.bias is None else self.built.parameters[operation.bias].id,
            self._bias_rows(operation),
            layer=operation.weight,
        )

    def _reaches_few(self, operation: Convolution) -> bool:
        """Whether it is better added to the gradient from other readers than they to it: it leaves positions out."""
        return operation.kernel == (1, 1) and operation.stride == 2 and self.uses[operation.source] > 1

    def _input_gradient(self, operation: Convolution, gradient: int) -> None:
        weight = self.built.parameters[operation.weight].id
        into, accumulate = self._into(operation.source)
        shapes = self.graph.shapes[operation.source], self.graph.shapes[operation.target]
        source, target = self._layout(operation.source), self._layout(operation.target)
        for grid, back in backward_rows(operation, self.weights[operation.target], source, target, shapes):
            if accumulate and not len(back.order):
                continue
            self._run(
                "convolve",
                True,
                gradient,
                into,
                weight,
                back.begin,
                back.end,
                back.offset,
                back.order,
                1,
                grid.as_list(),
                -1,
                _NONE,
                accumulate,
                layer=operation.weight,
            )

    def _join_backward(self, operation: Join, gradient: int) -> None:
        source, target = self._tensor(operation.source), self._tensor(operation.target)
        residual = operation.residual
        if operation.normalisation is None:
            if operation.relu:
                self._run("gate", gradient, target)
            self._hand_on(gradient, [operation.source, *([residual] if residual else [])])
            return
        number = self.built.normalisations[operation.normalisation]
        gate = "none" if not operation.relu else "recomputed" if residual is None else "output"
        if residual is not None and residual in self.gradients:
            if operation.relu:
                self._run("gate", gradient, target)
                gate = "none"
            self._run("add", gradient, self.gradients[residual], True)
        elif residual is not None:
            # The gated gradient's buffer becomes the residual's.
            into, accumulate = self._into(operation.source)
            self._run("normalise_gradient", number, gradient, source, target, into, gate, accumulate)
            self.gradients[residual] = gradient
            return
        accumulate = operation.source in self.gradients
        into = self.gradients.setdefault(operation.source, gradient)
        self._run("normalise_gradient", number, gradient, source, target, into, gate, accumulate)
        if accumulate:
            self._give_back(gradient)

    def _hand_on(self, gradient: int, receivers: list[str]) -> None:
        """Give a gradient to tensors: its buffer to the first that has none yet, its values to the others."""
        handed = False
        for name in receivers:
            if not handed and name not in self.gradients:
                self.gradients[name] = gradient
                handed = True
            else:
                into, accumulate = self._into(name)
                self._run("add", gradient, into, accumulate)
        if not handed:
            self._give_back(gradient)

    def _pool_backward(self, operation: Pool, gradient: int) -> None:
        into, accumulate = self._into(operation.source)
        self._run(
            "pool_gradient",
            self._tensor(operation.source),
            self._tensor(operation.target),
            gradient,
            into,
            [*operation.kernel, *operation.stride, *operation.padding],
            operation.count_padding,
            operation.maximum,
            accumulate,
        )


def _kept(graph: Graph, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, NDArray[np.bool_]]:
    """Which weights are kept, (outputs, channels / groups, *kernel)."""
    kept: dict[str, NDArray[np.bool_]] = {}
    for operation in graph.operations:
        if isinstance(operation, Convolution):
            shape = tuple(parameters[operation.weight].shape)
            mask = masks.get(operation.weight)
            whole = np.ones(shape, bool) if mask is None else mask.cpu().numpy()
            kept[operation.weight] = whole.reshape(shape[0], -1, *operation.kernel)
    for name, mask in masks.items():
        if name not in kept and not bool(mask.all()):
            raise UnsupportedError(f"{name} is masked and is not the weight of a convolution or linear map")
    return kept


def multiplications_share(graph: Graph, model: nn.Module, masks: Mapping[str, Tensor]) -> float:
    """Multiplications of the forward pass by kept weights of live units, as a share of all of them."""
    kept = _kept(graph, dict(model.named_parameters()), masks)
    live = live_channels(graph, kept)
    done = whole = 0
    for operation in graph.operations:
        if isinstance(operation, Convolution):
            _, height, width = graph.shapes[operation.target]
            done += int(np.count_nonzero(kept[operation.weight][live[operation.target]])) * height * width
            whole += kept[operation.weight].size * height * width
    return done / whole

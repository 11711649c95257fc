"""What training steps cost here by each engine, in processor time of one thread: for plans and benchmarks."""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training.engines.dense import DenseEngine
from prunemark.training.engines.sparse import SparseEngine, trace
from prunemark.training.engines.sparse.graph import Convolution, Graph

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """Milliseconds that layers of one shape take in a training step: forward, input gradient and weight gradient.

    Attributes:
        shape: what they have in common: "16 x 16 x 3 x 3 on 32 x 32".
        layers: how many there are; times are of all of them together.
        dense_ms: by PyTorch.
        sparse_ms: by the sparse kernels, at each density of weights kept at random.
    """

    shape: str
    layers: int
    dense_ms: float
    sparse_ms: Mapping[float, float]

    @property
    def break_even(self) -> float:
        """The density from which on dense is faster, on the line through the sparse times; at most 1."""
        (low, fast), *_, (high, slow) = sorted(self.sparse_ms.items())
        slope = (slow - fast) / (high - low)
        return min(1.0, max(0.0, low + (self.dense_ms - fast) / slope)) if slope > 0 else 1.0


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Milliseconds of a training step of one masked network, medians of rounds in which the ways took turns.

    Attributes:
        ms: by the name of the way.
        ratios: how many times longer than the sparse engine each takes, medians of the rounds' ratios.
        multiplications: of one example's forward pass by kept weights.
        share: of all multiplications that those are.
    """

    ms: Mapping[str, float]
    ratios: Mapping[str, float]
    multiplications: int
    share: float


Way = Callable[[int], object]
"""Takes that many training steps."""


def conventional_loop(model: nn.Module, masks: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Way:
    """The usual training loop: weights in PyTorch's own layout, masked by multiplication after each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    weights = [(model.get_parameter(name), mask.float()) for name, mask in masks.items()]
    model.train()

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            with torch.no_grad():
                for weight, mask in weights:
                    weight.mul_(mask)

    return steps


def sparse_matrices(model: nn.Module, inputs: Tensor, targets: Tensor) -> Way:
    """A perceptron whose weights are sparse matrices of `torch.sparse`, trained with SGD without momentum."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    matrices = [layer.weight.detach().to_sparse_coo().coalesce().requires_grad_() for layer in layers]

    def steps(count: int) -> None:
        for _ in range(count):
            values = inputs.flatten(1).T
            for layer, matrix in zip(layers, matrices, strict=True):
                values = torch.sparse.mm(matrix, values) + layer.bias[:, None]
                values = values if layer is layers[-1] else values.relu()
            F.cross_entropy(values.T, targets).backward()
            with torch.no_grad():
                for layer, matrix in zip(layers, matrices, strict=True):
                    assert matrix.grad is not None
                    assert layer.bias.grad is not None
                    matrix._values().sub_(matrix.grad.coalesce()._values(), alpha=0.01)
                    layer.bias.sub_(layer.bias.grad, alpha=0.01)
                    matrix.grad = layer.bias.grad = None

    return steps


def multiply_rate(side: int = 512) -> float:
    """The machine's limit: 1e9 multiplications and additions per second of one thread, by a dense matrix product."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    rounds = 10
    times = [_milliseconds(lambda: [a @ b for _ in range(rounds)]) for _ in range(4)]
    return 2e-6 * rounds * side**3 / min(times)


def layer_costs(
    model: nn.Module, input_shape: tuple[int, ...], *, batch: int, densities: Sequence[float] = (0.1, 0.5)
) -> list[LayerCost]:
    """Measure the layers of a network by both engines.

    Args:
        model: traceable, float32, on the CPU; it is left as it is.
        input_shape: of one example.
        batch: examples of a step.
        densities: at which the sparse kernels are measured, two or more.

    Raises:
        UnsupportedError: the kernels are not installed, or the network has parts that they lack.
    """
    graph = trace(model, input_shape)
    convolutions = [operation for operation in graph.operations if isinstance(operation, Convolution)]
    sparse = {density: _sparse_layers(model, input_shape, batch, density) for density in densities}
    shapes: dict[tuple[object, ...], list[Convolution]] = {}
    for operation in convolutions:
        shapes.setdefault(_shape(graph, model, operation), []).append(operation)
    return [
        LayerCost(
            shape=_words(graph, model, alike[0]),
            layers=len(alike),
            dense_ms=len(alike) * _dense_layer(graph, model, alike[0], batch),
            sparse_ms={at: sum(found.get(each.weight, 0.0) for each in alike) for at, found in sparse.items()},
        )
        for alike in shapes.values()
    ]


def compare_steps(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    input_shape: tuple[int, ...],
    *,
    batch: int,
    steps: int,
    rounds: int,
    kernels: str = "",
    ways: Mapping[str, Callable[[nn.Module, Tensor, Tensor], Way]] | None = None,
) -> StepTimes:
    """Time the steps of a masked network by the sparse engine, the dense one and others, which take turns (A B A B).

    Args:
        model: left as it is; each way trains a copy on the same random images.
        masks: parameter name -> boolean tensor, True = kept.
        input_shape: of one example.
        batch: examples of a step.
        steps: that are timed at once.
        rounds: turns of each way.
        kernels: an instruction set; the best of this processor by default.
        ways: others by their names: (model with pruned weights at 0, inputs, targets of a batch) -> what takes steps.

    Raises:
        UnsupportedError: the kernels are not installed, or the network has parts that they lack.
    """
    source = generator(0, "timing")
    inputs = torch.randn(batch, *input_shape, generator=source)
    targets = torch.randint(0, 10, (batch,), generator=source)
    recipe = Recipe(epochs=1, batch_size=batch, lr=0.01)
    sparse = SparseEngine(copy.deepcopy(model), recipe, masks, None, CPU, kernels=kernels)
    built = sparse.built_for(input_shape)
    dense = DenseEngine(copy.deepcopy(model), recipe, masks, None, CPU)
    places = torch.arange(batch)
    engines: dict[str, Way] = {
        "sparse": lambda count: [sparse.step_on(inputs, targets, places, 0.01) for _ in range(count)],
        "dense": lambda count: [dense.step_on(inputs, targets, places, 0.01) for _ in range(count)],
    }
    for name, make in (ways or {}).items():
        other = copy.deepcopy(model)
        with torch.no_grad():
            for weight, mask in masks.items():
                other.get_parameter(weight).mul_(mask)
        engines[name] = make(other, inputs, targets)
    found: dict[str, list[float]] = {name: [] for name in engines}
    for way in engines.values():
        way(1)
    for _ in range(rounds):
        for name, way in engines.items():
            found[name].append(_milliseconds(lambda way=way: way(steps)) / steps)
    dense.close()
    return StepTimes(
        ms={name: statistics.median(times) for name, times in found.items()},
        ratios={
            name: statistics.median(a / b for a, b in zip(times, found["sparse"], strict=True))
            for name, times in found.items()
        },
        multiplications=built.multiplications,
        share=built.multiplications / built.dense_multiplications,
    )


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1e3 * (time.process_time() - began)


def _sparse_layers(model: nn.Module, input_shape: tuple[int, ...], batch: int, density: float) -> dict[str, float]:
    """Milliseconds of a step by the name of the weight, with that share of each weight kept at random."""
    source = generator(0, "timing", int(1e6 * density))
    graph = trace(model, input_shape)
    names = [operation.weight for operation in graph.operations if isinstance(operation, Convolution)]
    masks = {name: torch.rand(model.get_parameter(name).shape, generator=source) < density for name in names}
    engine = SparseEngine(copy.deepcopy(model), Recipe(epochs=1, batch_size=batch), masks, None, CPU)
    inputs, targets = torch.randn(batch, *input_shape, generator=source), torch.zeros(batch, dtype=torch.int64)
    engine.step(inputs, targets, 0.0)
    built = engine.built_for(input_shape)
    built.program.profiling = True
    rounds = 2
    for _ in range(rounds):
        engine.step(inputs, targets, 0.0)
    found = dict.fromkeys(names, 0.0)
    for name, seconds in zip(built.layers, built.program.profile, strict=True):
        if name:
            found[name] += 1e3 * seconds / rounds
    return found


def _dense_layer(graph: Graph, model: nn.Module, operation: Convolution, batch: int) -> float:
    """Milliseconds of a step of one layer by PyTorch, in the layout in which the dense engine trains it."""
    channels, height, width = graph.shapes[operation.source]
    weight = model.get_parameter(operation.weight).detach().clone().requires_grad_()
    wants_gradient = operation.source != graph.input
    if weight.ndim == 2:
        inputs = torch.randn(batch, weight.shape[1])
        forward: Callable[[Tensor], Tensor] = lambda x: F.linear(x, weight)  # noqa: E731
    else:
        inputs = torch.randn(batch, channels, height, width).to(memory_format=torch.channels_last)
        stride, padding = operation.stride, operation.padding
        forward = lambda x: F.conv2d(x, weight, None, stride, padding, operation.dilation, operation.groups)  # noqa: E731
    inputs.requires_grad_(wants_gradient)

    def step() -> None:
        weight.grad = inputs.grad = None
        output = forward(inputs)
        output.backward(torch.ones_like(output))

    step()
    return statistics.median(_milliseconds(step) for _ in range(3))


def _shape(graph: Graph, model: nn.Module, operation: Convolution) -> tuple[object, ...]:
    first = operation.source == graph.input
    shape, source = tuple(model.get_parameter(operation.weight).shape), graph.shapes[operation.source]
    return first, shape, source, operation.stride, operation.padding, operation.dilation, operation.groups


def _words(graph: Graph, model: nn.Module, operation: Convolution) -> str:
    shape = model.get_parameter(operation.weight).shape
    words = " x ".join(map(str, shape))
    if len(shape) > 2:
        _, height, width = graph.shapes[operation.source]
        words += f" on {height} x {width}"
    return f"{words}, stride {operation.stride}" if operation.stride > 1 and len(shape) > 2 else words

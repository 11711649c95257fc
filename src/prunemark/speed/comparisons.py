"""What `prunemark bench` compares."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from prunemark.datasets import Split
from prunemark.networks import network
from prunemark.pruning import prune
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.speed.rivals import passes_alone, usual_synflow, usual_training
from prunemark.speed.timing import Comparison
from prunemark.training.batches import Batches
from prunemark.training.engines import ENGINES, MakeEngine
from prunemark.training.engines.sparse import available_kernels

_CPU = torch.device("cpu")
_CLASSES = 10
_BATCH = 128
# Network, shape of an input, steps in a call.
_TRAININGS = (("lenet-300-100", (1, 28, 28), 40), ("resnet-20", (3, 32, 32), 1))
_SPARSITIES = (0.9, 0.98)


def comparisons() -> Iterator[Comparison]:
    """All of them, each made when it is asked for: its network and data go before the next one's come."""
    for name, shape, steps in _TRAININGS:
        yield _dense(name, shape, steps)
        for sparsity in _SPARSITIES if available_kernels() else ():
            yield _sparse(name, shape, steps, sparsity)
    for name, rounds in (("resnet-20", 20), ("vgg-16", 3)):
        yield _synflow(name, rounds)
    for method, label in (("snip", "SNIP"), ("grasp", "GraSP")):
        yield _one_shot(method, label)


def _images(shape: tuple[int, int, int], count: int) -> tuple[Tensor, Tensor]:
    source = generator(0, "speed")
    return torch.randn(count, *shape, generator=source), torch.randint(_CLASSES, (count,), generator=source)


def _engine_steps(
    engine: str, name: str, shape: tuple[int, int, int], masks: Mapping[str, Tensor]
) -> Callable[[int], None]:
    """What takes that many steps of an engine, batches drawn as in training."""
    inputs, targets = _images(shape, 4 * _BATCH)
    data, recipe = Split(inputs=inputs, targets=targets), Recipe(epochs=1, batch_size=_BATCH, lr=0.01)
    make: MakeEngine = ENGINES[engine].load()
    running = make(network(name, input_shape=shape, classes=_CLASSES), recipe, masks, None, _CPU)
    batches = Batches(data, recipe, seed=0, device=_CPU, memory_format=running.memory_format)
    batches.begin(0)
    taken = 0

    def steps(count: int) -> None:
        nonlocal taken
        for _ in range(count):
            images, labels = batches[taken % batches.per_epoch]
            running.step(images, labels, 0.01)
            taken += 1

    return steps


def _dense(name: str, shape: tuple[int, int, int], steps: int) -> Comparison:
    inputs, targets = _images(shape, 4 * _BATCH)
    masks = prune(network(name, input_shape=shape, classes=_CLASSES), "random", sparsity=0.9)
    ours = _engine_steps("dense", name, shape, masks)
    model = network(name, input_shape=shape, classes=_CLASSES)
    theirs = usual_training(model, inputs, targets, masks, batch_size=_BATCH)
    return Comparison(
        what=f"{name}, dense step",
        rival="a DataLoader's loop",
        ours=lambda: ours(steps),
        theirs=lambda: theirs(steps),
        count=steps,
    )


def _sparse(name: str, shape: tuple[int, int, int], steps: int, sparsity: float) -> Comparison:
    model = network(name, input_shape=shape, classes=_CLASSES)
    masks = prune(model, "magnitude", sparsity=sparsity)
    ours, theirs = (_engine_steps(engine, name, shape, masks) for engine in ("sparse", "dense"))
    return Comparison(
        what=f"{name}, sparse step at {sparsity:.0%}",
        rival="dense step",
        ours=lambda: ours(steps),
        theirs=lambda: theirs(steps),
        count=steps,
    )


def _synflow(name: str, rounds: int) -> Comparison:
    shape = 3, 32, 32
    model = network(name, input_shape=shape, classes=_CLASSES)
    rival = network(name, input_shape=shape, classes=_CLASSES)
    return Comparison(
        what=f"{name}, SynFlow round",
        rival="its authors' loop",
        ours=lambda: prune(model, "synflow", sparsity=0.1, rounds=rounds, input_shape=shape),
        theirs=lambda: usual_synflow(rival, shape, sparsity=0.1, rounds=rounds),
        count=rounds,
    )


def _one_shot(method: str, label: str) -> Comparison:
    shape = 3, 32, 32
    inputs, targets = _images(shape, 100)
    model = network("resnet-20", input_shape=shape, classes=_CLASSES)
    rival = network("resnet-20", input_shape=shape, classes=_CLASSES)
    return Comparison(
        what=f"resnet-20, {label} mask",
        rival="its passes alone",
        ours=lambda: prune(model, method, sparsity=0.9, data=[(inputs, targets)]),
        theirs=lambda: passes_alone(rival, inputs, targets, second=method == "grasp"),
    )

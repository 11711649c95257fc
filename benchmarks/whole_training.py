"""A whole training of LeNet-300-100 at 90 %, evaluated after each epoch: the usual program's way and the sparse engine.

    .venv/bin/python benchmarks/whole_training.py [--epochs 2] [--rounds 2] [--sparsity 0.9]

The usual program reads images as bytes one by one in a `Dataset`, turns each into a normalised tensor, collates batches
in a `DataLoader`, multiplies weights by masks before each step and evaluates in the same way. Written for the
purpose, after what pruning libraries of the time do. Both see as many examples of as many batches; they take turns
(A B A B), in processor seconds of one thread, loading of data and making of masks left out.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import prunemark as pm
from prunemark.training.engines.sparse import available_kernels


class Images(Dataset[tuple[Tensor, int]]):
    """Images as programs keep them: bytes, which go through PIL to a normalised tensor one by one."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        low, high = inputs.min(), inputs.max()
        self._bytes = ((inputs - low) / (high - low) * 255).to(torch.uint8).numpy()
        self._targets, self._low, self._span = targets.tolist(), float(low), float(high - low)

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self._bytes[index, 0])
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(image.height, image.width, 1)
        pixels = pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255).clone()
        mean, deviation = torch.as_tensor([-self._low / self._span]), torch.as_tensor([1 / self._span])
        return pixels.sub_(mean.view(-1, 1, 1)).div_(deviation.view(-1, 1, 1)), self._targets[index]


def usual_program(model: nn.Module, masks: pm.Masks, data: pm.Dataset, recipe: pm.Recipe) -> float:
    """Train and evaluate the usual program's way; the last accuracy."""
    train = DataLoader(Images(data.train.inputs[:], data.train.targets), batch_size=recipe.batch_size, shuffle=True)
    test = DataLoader(Images(data.test.inputs[:], data.test.targets), batch_size=recipe.batch_size)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    kept = [(model.get_parameter(name), mask.float()) for name, mask in masks.items()]

    def apply() -> None:
        for weight, mask in kept:
            weight.data.mul_(mask)

    accuracy = 0.0
    for _ in range(recipe.epochs):
        model.train()
        for images, targets in train:
            apply()
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
        apply()
        model.eval()
        right, total = 0, 0.0
        with torch.no_grad():
            for images, targets in test:
                logits = model(images)
                right += int((logits.argmax(1) == targets).sum())
                total += F.cross_entropy(logits, targets).item() * len(targets)
        accuracy = right / len(data.test.targets)
    return accuracy


def main() -> None:
    """Measure both, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--dataset", default="fashion-mnist-small")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = pm.dataset(arguments.dataset)
    recipe = pm.Recipe(epochs=arguments.epochs)
    model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=data.classes, seed=0)
    masks = pm.prune(model, "synflow", sparsity=arguments.sparsity, input_shape=data.input_shape, rounds=20)

    def ours(engine: str) -> float:
        trained = pm.train(copy.deepcopy(model), data, recipe, masks=masks, engine=engine, curve=True)
        return trained.test_accuracy

    ways: dict[str, Callable[[], float]] = {
        "usual": lambda: usual_program(copy.deepcopy(model), masks, data, recipe),
        "dense": lambda: ours("dense"),
        "sparse": lambda: ours("sparse"),
    }
    kernels = available_kernels()[-1]
    examples = len(data.train.targets), len(data.test.targets)
    print(f"{kernels}, torch {torch.__version__}, one thread; {examples} examples, {recipe.epochs} epochs")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(arguments.rounds):
        for name, way in ways.items():
            began = time.process_time()
            accuracy = way()
            seconds[name].append(time.process_time() - began)
            print(f"round {round_}: {name:6} {seconds[name][-1]:7.2f} s, accuracy {accuracy:.4f}", flush=True)
    for name in ("usual", "dense"):
        ratios = [a / b for a, b in zip(seconds[name], seconds["sparse"], strict=True)]
        print(f"{name} / sparse: {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()

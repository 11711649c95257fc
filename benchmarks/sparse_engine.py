"""Speed-up of a training step by the sparse engine over the dense loop: ratios measured in one run.

    .venv/bin/python benchmarks/sparse_engine.py [--rounds 5] [--kernels avx2] [--profile] [NETWORK ...]

Both train the same masked network on the same random images, one thread, in turn (A B A B); processor seconds, medians.
The dense loop is `prunemark.training.train` with engine "dense", evaluation left out.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

import prunemark as pm
from prunemark.datasets import Split
from prunemark.recipes import Recipe
from prunemark.training import train
from prunemark.training.engines.sparse import SparseEngine, available_kernels


@dataclass(frozen=True)
class Work:
    """A network with its inputs, the methods that prune it, and the steps that are timed at once."""

    network: str
    shape: tuple[int, int, int]
    batch: int
    steps: int
    methods: tuple[str, ...] = ("synflow", "magnitude")
    sparsities: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95, 0.98)


WORKS = (
    Work("lenet-300-100", (1, 28, 28), 128, 60),
    Work("resnet-8", (1, 8, 8), 64, 20, sparsities=(0.8, 0.95, 0.98)),
    Work("resnet-20", (3, 32, 32), 128, 2),
    Work("vgg-16", (3, 32, 32), 128, 1, methods=("random", "magnitude"), sparsities=(0.9, 0.95, 0.98)),
)


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one run."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(work: Work, method: str, sparsity: float, rounds: int, kernels: str, *, profile: bool) -> None:
    """Print one line: milliseconds of a step by both engines, and their ratio."""
    options = {"rounds": 20} if method == "synflow" else {}
    model = pm.network(work.network, input_shape=work.shape, classes=10, seed=0)
    masks = pm.prune(model, method, sparsity=sparsity, input_shape=work.shape, seed=0, **options)
    masks.apply_(model)
    source = torch.Generator().manual_seed(0)
    count = work.batch * (work.steps + 3)
    inputs = torch.randn(count, *work.shape, generator=source)
    targets = torch.randint(10, (count,), generator=source)
    data = Split(inputs=inputs, targets=targets)
    recipe = Recipe(epochs=1000, batch_size=work.batch, lr=0.01)
    sparse = SparseEngine(model, recipe, masks, None, torch.device("cpu"), kernels=kernels)
    dense_model = pm.network(work.network, input_shape=work.shape, classes=10, seed=0)

    def dense_steps(until: int) -> float:
        return seconds(lambda: train(dense_model, data, recipe, seed=0, masks=masks, until=until, engine="dense"))

    def sparse_steps() -> float:
        orders = [torch.randperm(count, generator=source)[: work.batch] for _ in range(work.steps)]
        return seconds(lambda: [sparse.step_on(inputs, targets, places, 0.01) for places in orders])

    dense_steps(1)
    sparse_steps()
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        dense = dense_steps(work.steps + 1) - dense_steps(1)
        pairs.append((dense * 1e3 / work.steps, sparse_steps() * 1e3 / work.steps))
    built = sparse.built_for(work.shape)
    dense, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(d / s for d, s in pairs)
    share = built.multiplications / built.dense_multiplications
    print(
        f"{work.network:15} {method:10} {sparsity:8.2f} {share:10.3f} {dense:9.2f} {ours:9.2f} {ratio:7.2f}", flush=True
    )
    if profile:
        built.program.profiling = True
        for _ in range(3):
            sparse_steps()
        _print_profile(built.operations, (x * 1e3 / 3 / work.steps for x in built.program.profile))


def _print_profile(names: Iterable[str], milliseconds: Iterable[float]) -> None:
    totals: dict[str, float] = {}
    for name, value in zip(names, milliseconds, strict=True):
        totals[name] = totals.get(name, 0.0) + value
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in totals.items()), flush=True)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kernels", default="")
    parser.add_argument("--sparsity", type=float, action="append")
    parser.add_argument("--method", action="append")
    parser.add_argument("--profile", action="store_true", help="where the sparse step's time goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kernels = arguments.kernels or available_kernels()[-1]
    print(f"{platform.machine()}, {kernels}, torch {torch.__version__}, one thread, {arguments.rounds} rounds")
    print(
        f"{'network':15} {'method':10} {'sparsity':>8} {'FLOP share':>10} {'dense ms':>9} {'sparse ms':>9} {'ratio':>7}"
    )
    for work in WORKS:
        if arguments.networks and work.network not in arguments.networks:
            continue
        for method in arguments.method or work.methods:
            for sparsity in arguments.sparsity or work.sparsities:
                measure(work, method, sparsity, arguments.rounds, kernels, profile=arguments.profile)


if __name__ == "__main__":
    main()

"""Speed-up of a training step by the sparse engine over other ways: ratios measured in one run.

    .venv/bin/python benchmarks/sparse_engine.py [--rounds 5] [--kernels avx2] [--profile] [NETWORK ...]

All train the same masked network on the same random batch, one thread, in turn (A B A B); processor milliseconds of a
step, medians. "dense" is the dense engine, "loop" the usual training loop, "torch.sparse" (perceptrons only) one whose
weights are sparse matrices; columns with an x say how many times longer than the sparse engine they take. "limit" is
the rate of the kept weights' multiplications and additions, three times those of the forward pass, as a share of what
a dense matrix product reaches in the same run.
"""

import argparse
import functools
import platform
from collections.abc import Iterable
from dataclasses import dataclass

import torch

import prunemark as pm
from prunemark.recipes import Recipe
from prunemark.training.engines.sparse import SparseEngine, available_kernels
from prunemark.training.engines.timing import compare_steps, conventional_loop, multiply_rate, sparse_matrices


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
    Work("lenet-300-100", (1, 28, 28), 128, 40),
    Work("resnet-8", (1, 8, 8), 64, 10, sparsities=(0.8, 0.95, 0.98)),
    Work("resnet-20", (3, 32, 32), 128, 1),
    Work("vgg-16", (3, 32, 32), 128, 1, methods=("random", "magnitude"), sparsities=(0.9, 0.95, 0.98)),
)


def measure(work: Work, method: str, sparsity: float, rounds: int, kernels: str, *, profile: bool) -> None:
    """Print one line: milliseconds of a step by each, and ratios."""
    options = {"rounds": 20} if method == "synflow" else {}
    model = pm.network(work.network, input_shape=work.shape, classes=10, seed=0)
    masks = pm.prune(model, method, sparsity=sparsity, input_shape=work.shape, seed=0, **options)
    ways = {"loop": lambda other, inputs, targets: conventional_loop(other, masks, inputs, targets)}
    if work.network.startswith("lenet"):
        ways["torch.sparse"] = sparse_matrices
    found = compare_steps(
        model, masks, work.shape, batch=work.batch, steps=work.steps, rounds=rounds, kernels=kernels, ways=ways
    )
    rate = 6e-6 * found.multiplications * work.batch / found.ms["sparse"]
    other = f"{found.ratios['torch.sparse']:14.2f}" if "torch.sparse" in found.ratios else f"{'':14}"
    print(
        f"{work.network:14} {method:9} {sparsity:8.2f} {found.share:10.3f} {found.ms['dense']:9.2f} "
        f"{found.ms['sparse']:9.2f} {found.ratios['dense']:7.2f} {found.ratios['loop']:6.2f} {other} "
        f"{rate / limit():6.2f}",
        flush=True,
    )
    if profile:
        _profile(model, masks, work, kernels)


@functools.lru_cache(maxsize=1)
def limit() -> float:
    """The machine's rate, measured once."""
    return multiply_rate()


def _profile(model: torch.nn.Module, masks: pm.Masks, work: Work, kernels: str) -> None:
    cpu = torch.device("cpu")
    engine = SparseEngine(model, Recipe(epochs=1, batch_size=work.batch), masks, None, cpu, kernels=kernels)
    inputs, targets = torch.randn(work.batch, *work.shape), torch.zeros(work.batch, dtype=torch.int64)
    engine.step(inputs, targets, 0.0)
    built = engine.built_for(work.shape)
    built.program.profiling = True
    rounds = 3
    for _ in range(rounds):
        engine.step(inputs, targets, 0.0)
    _print_profile(built.operations, (seconds * 1e3 / rounds for seconds in built.program.profile))


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
    torch.set_flush_denormal(True)
    kernels = arguments.kernels or available_kernels()[-1]
    print(f"{platform.machine()}, {kernels}, torch {torch.__version__}, one thread, {arguments.rounds} rounds")
    print(f"a dense matrix product: {limit():.0f} GFLOP/s")
    print(
        f"{'network':14} {'method':9} {'sparsity':>8} {'FLOP share':>10} {'dense ms':>9} {'sparse ms':>9} "
        f"{'dense x':>7} {'loop x':>6} {'torch.sparse x':>14} {'limit':>6}"
    )
    for work in WORKS:
        if arguments.networks and work.network not in arguments.networks:
            continue
        for method in arguments.method or work.methods:
            for sparsity in arguments.sparsity or work.sparsities:
                measure(work, method, sparsity, arguments.rounds, kernels, profile=arguments.profile)


if __name__ == "__main__":
    main()

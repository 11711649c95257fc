"""Speed of scoring and selection: ratios measured in one run, one thread, in processor seconds.

    .venv/bin/python benchmarks/scoring.py [--quick]

Rivals: for selection, a full stable sort of all scores; for SNIP and GraSP, the backward passes alone that their
definitions need; for SynFlow, the float64 forward and backward passes of its 100 rounds alone. A ratio near 1 over the
passes alone says that nothing but the passes costs anything.
"""

import argparse
import platform
import resource
import time
from collections.abc import Callable

import torch
from torch.nn import functional

import prunemark as pm
from prunemark.models.prunable import prunable
from prunemark.pruning.selection import select


def seconds(work: Callable[[], object], *, repeats: int) -> float:
    """The shortest of a few runs, in processor seconds: what the machine can do when little else disturbs it."""
    times: list[float] = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def passes_alone(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, *, second: bool) -> None:
    """One gradient of the loss, and for `second` one more through it."""
    weights = list(prunable(model).values())
    loss = functional.cross_entropy(model(inputs), targets)
    first = torch.autograd.grad(loss, weights, create_graph=second)
    if second:
        torch.autograd.grad(torch.stack([(g * g.detach()).sum() for g in first]).sum(), weights)


def synflow_passes_alone(model: torch.nn.Module, shape: tuple[int, ...], rounds: int) -> None:
    """One float64 pass for each round of SynFlow."""
    model = model.double().eval()
    weights = list(prunable(model).values())
    ones = torch.ones(1, *shape, dtype=torch.float64)
    for _ in range(rounds):
        torch.autograd.grad(model(ones).sum(), weights)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds of SynFlow")
    rounds = 5 if parser.parse_args().quick else 100
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, {rounds} rounds of SynFlow")
    print(f"{'what':<46}{'ours':>10}{'rival':>10}{'ours / rival':>14}")

    def row(what: str, ours: float, rival: float) -> None:
        print(f"{what:<46}{ours:>9.3f}s{rival:>9.3f}s{ours / rival:>14.2f}", flush=True)

    scores = {f"l{i}": torch.rand(5_000_000, generator=torch.Generator().manual_seed(i)) for i in range(5)}
    row(
        "selection: 25 M scores, against a full sort",
        seconds(lambda: select(scores, sparsity=0.9), repeats=3),
        seconds(lambda: torch.cat(list(scores.values())).sort(descending=True, stable=True), repeats=3),
    )

    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(100, 3, 32, 32, generator=source)
    targets = torch.arange(100) % 10
    resnet = pm.network("resnet-20", input_shape=(3, 32, 32), classes=10)
    for method, second in (("snip", False), ("grasp", True)):
        row(
            f"{method}: ResNet-20, 100 images, passes alone",
            seconds(lambda m=method: pm.prune(resnet, m, sparsity=0.9, data=[(inputs, targets)]), repeats=3),
            seconds(lambda s=second: passes_alone(resnet, inputs, targets, second=s), repeats=3),
        )
    for name, shape, classes in (("vgg-16", (3, 32, 32), 10), ("resnet-50", (3, 224, 224), 1000)):
        model = pm.network(name, input_shape=shape, classes=classes)
        total = sum(weight.numel() for weight in prunable(model).values())
        row(
            f"synflow: {name}, {total / 1e6:.1f} M weights, passes alone",
            seconds(
                lambda m=model, x=shape: pm.prune(m, "synflow", sparsity=0.99, input_shape=x, rounds=rounds), repeats=1
            ),
            seconds(lambda m=model, x=shape: synflow_passes_alone(m, x, rounds), repeats=1),
        )
    print(f"peak memory of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()

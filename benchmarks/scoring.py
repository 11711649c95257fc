"""How fast scoring and selection are: ratios of processor times of one thread, taken in turn.

    .venv/bin/python benchmarks/scoring.py [--rounds 3] [selection] [one-shot] [synflow]

Rivals: for selection, a full stable sort; for SNIP and GraSP, the passes alone that their definitions need; for
SynFlow, the loop of its authors' program in float32, and the float64 passes alone. Each ratio is theirs / ours:
above 1, prunemark is faster.
"""

import argparse
import platform
import resource
from collections.abc import Callable, Iterator

import torch

import prunemark as pm
from prunemark.models.prunable import prunable
from prunemark.pruning.selection import select
from prunemark.speed.rivals import passes_alone, usual_synflow
from prunemark.speed.timing import Comparison, measure


def float64_passes(name: str, shape: tuple[int, ...], classes: int, rounds: int) -> Callable[[], None]:
    """As many float64 passes as SynFlow has rounds, in the faster memory format, and nothing else."""
    model = pm.network(name, input_shape=shape, classes=classes).double().eval().to(memory_format=torch.channels_last)
    weights = list(prunable(model).values())
    ones = torch.ones(1, *shape, dtype=torch.float64)

    def work() -> None:
        for _ in range(rounds):
            torch.autograd.grad(model(ones).sum(), weights)

    return work


def selection() -> Iterator[Comparison]:
    """25 million scores."""
    scores = {f"l{i}": torch.rand(5_000_000, generator=torch.Generator().manual_seed(i)) for i in range(5)}
    yield Comparison(
        what="selection of 25 M scores",
        rival="a full stable sort",
        ours=lambda: select(scores, sparsity=0.9),
        theirs=lambda: torch.cat(list(scores.values())).sort(descending=True, stable=True),
    )


def one_shot() -> Iterator[Comparison]:
    """SNIP and GraSP."""
    shape, source = (3, 32, 32), torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(100, *shape, generator=source), torch.arange(100) % 10
    for name in ("resnet-20", "vgg-16"):
        model, rival = (pm.network(name, input_shape=shape, classes=10) for _ in range(2))
        for method, second in (("snip", False), ("grasp", True)):
            yield Comparison(
                what=f"{method}, {name}, 100 images",
                rival="its passes alone",
                ours=lambda method=method, model=model: pm.prune(model, method, sparsity=0.9, data=[(inputs, targets)]),
                theirs=lambda second=second, rival=rival: passes_alone(rival, inputs, targets, second=second),
            )


def synflow() -> Iterator[Comparison]:
    """SynFlow to a density of 2 %, per round."""
    for name, shape, classes, rounds in (
        ("lenet-300-100", (1, 28, 28), 10, 100),
        ("resnet-20", (3, 32, 32), 10, 100),
        ("vgg-16", (3, 32, 32), 10, 20),
        ("resnet-50", (3, 224, 224), 1000, 4),
    ):
        model, rival = (pm.network(name, input_shape=shape, classes=classes) for _ in range(2))

        def ours(model=model, shape=shape, rounds=rounds) -> None:
            pm.prune(model, "synflow", sparsity=0.98, input_shape=shape, rounds=rounds)

        def theirs(rival=rival, shape=shape, rounds=rounds) -> None:
            usual_synflow(rival, shape, sparsity=0.98, rounds=rounds)

        what = f"synflow, {name}, a round of {rounds}"
        yield Comparison(what=what, rival="its authors' float32 loop", ours=ours, theirs=theirs, count=rounds)
        if name != "resnet-50":
            alone = float64_passes(name, shape, classes, rounds)
            yield Comparison(what=what, rival="float64 passes alone", ours=ours, theirs=alone, count=rounds)


PARTS = {"selection": selection, "one-shot": one_shot, "synflow": synflow}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, medians of {options.rounds} runs in turn")
    print(f"{'what':<36}{'ours ms':>10}{'theirs ms':>11}{'ratio':>7}  against")
    for part in options.parts or PARTS:
        for comparison in PARTS[part]():
            found = measure(comparison, rounds=options.rounds)
            times = f"{found.ours_ms:>10,.2f}{found.rival_ms:>11,.2f}{found.ratio:>7.2f}"
            print(f"{found.what:<36}{times}  {found.rival}", flush=True)
    print(f"peak memory of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()

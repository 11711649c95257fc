"""Whether whole trainings by the sparse engine and by the dense one agree: paired by seed, beside what rounding does.

    .venv/bin/python benchmarks/engine_agreement.py RECORD.jsonl [--seeds 20]

Each seed draws a network and a SynFlow mask and trains the subnetwork three times: by the dense engine, by the sparse
one, and by the dense one again with the examples of each batch in reverse order. The third adds up the same numbers in
another order, too: it is what rounding alone does to a training. RECORD.jsonl takes one line per training; a run that
was stopped resumes from it.

The table compares test accuracy in percentage points. "margin" is one standard deviation over the seeds of the dense
engine. The engines are equivalent within it if both one-sided t-tests at 5 % reject a larger difference: if the 90 %
interval of the mean difference lies within +-margin. "spread" compares the standard deviations of both differences.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from scipy import stats

import prunemark as pm
from prunemark.training import loop
from prunemark.training.batches import Batches
from prunemark.training.engines.sparse import available_kernels


class Reversed(Batches):
    """The same batches, the examples of each in reverse order."""

    def whole(self, position: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        found = super().whole(position)
        return None if found is None else (*found[:2], found[2].flip(0))


@dataclass(frozen=True)
class Case:
    """A subnetwork and how it is trained."""

    network: str
    dataset: str
    sparsity: float
    recipe: pm.Recipe


_LENET = pm.Recipe(epochs=4, drops=(2.5,), momentum=0.9, weight_decay=3e-3)
_RESNET = pm.Recipe(epochs=8, batch_size=64, weight_decay=0.02, drops=(4, 6))
CASES = (
    Case("lenet-300-100", "fashion-mnist-small", 0.9, _LENET),
    Case("lenet-300-100", "fashion-mnist-small", 0.98, _LENET),
    Case("resnet-8", "digits", 0.8, _RESNET),
    Case("resnet-8", "digits", 0.95, _RESNET),
)
RUNS = {"dense": ("dense", Batches), "sparse": ("sparse", Batches), "reversed": ("dense", Reversed)}


def train(case: Case, seed: int, runs: list[str]) -> Iterator[dict[str, object]]:
    """Train one seed's subnetwork in some of the ways of RUNS."""
    if not runs:
        return
    data = pm.dataset(case.dataset)
    drawn = pm.network(case.network, input_shape=data.input_shape, classes=data.classes, seed=seed)
    masks = pm.prune(drawn, "synflow", sparsity=case.sparsity, input_shape=data.input_shape, seed=seed, rounds=20)
    for name in runs:
        engine, loop.Batches = RUNS[name]
        model = copy.deepcopy(drawn)
        trained = pm.train(model, data, case.recipe, masks=masks, seed=seed, engine=engine, curve=False)
        numbers = {"accuracy": trained.test_accuracy, "loss": trained.test_loss, "seconds": trained.train_seconds}
        yield _key(case) | {"seed": seed, "run": name} | numbers


def _key(case: Case) -> dict[str, object]:
    fields = asdict(case)
    return {name: fields[name] for name in ("network", "dataset", "sparsity")}


def table(lines: list[dict[str, object]]) -> None:
    """Print what the record says of each case."""
    print(
        f"{'network':14} {'sparsity':>8} {'seeds':>5} {'dense':>6} {'margin':>6} | {'sparse - dense':>14} {'sd':>5} "
        f"{'t':>5} {'p':>5} {'90 % interval':>16} {'equivalent':>10} | {'reversed - dense':>16} {'sd':>5} | "
        f"{'spread p':>8}"
    )
    for case in CASES:
        found: dict[str, dict[int, float]] = {name: {} for name in RUNS}
        for line in lines:
            if {name: line[name] for name in _key(case)} == _key(case):
                found[str(line["run"])][int(str(line["seed"]))] = 100 * float(str(line["accuracy"]))
        seeds = sorted(found["dense"].keys() & found["sparse"].keys())
        if len(seeds) < 3:
            continue
        dense = [found["dense"][seed] for seed in seeds]
        sparse = [found["sparse"][seed] - found["dense"][seed] for seed in seeds]
        margin, error = statistics.stdev(dense), statistics.stdev(sparse) / len(seeds) ** 0.5
        mean = statistics.mean(sparse)
        t = mean / error if error else 0.0
        reach = stats.t.ppf(0.95, len(seeds) - 1) * error
        print(
            f"{case.network:14} {case.sparsity:8.2f} {len(seeds):5} {statistics.mean(dense):6.2f} {margin:6.2f} | "
            f"{mean:+14.3f} {statistics.stdev(sparse):5.2f} {t:+5.2f} {2 * stats.t.sf(abs(t), len(seeds) - 1):5.2f} "
            f"{f'{mean - reach:+.2f} to {mean + reach:+.2f}':>16} "
            f"{'yes' if max(abs(mean - reach), abs(mean + reach)) < margin else 'no':>10} | "
            f"{_beside(found)}"
        )


def _beside(found: dict[str, dict[int, float]]) -> str:
    """What rounding does, and whether it scatters as the engines do; over the seeds that have all runs."""
    seeds = sorted(set.intersection(*(set(each) for each in found.values())))
    if len(seeds) < 3:
        return "not run"
    sparse, other = ([found[name][seed] - found["dense"][seed] for seed in seeds] for name in ("sparse", "reversed"))
    # Both differences share the dense run, so that their variances are compared as of pairs (Pitman and Morgan).
    pairs = list(zip(sparse, other, strict=True))
    p = stats.pearsonr([a + b for a, b in pairs], [a - b for a, b in pairs]).pvalue
    return f"{statistics.mean(other):+16.3f} {statistics.stdev(other):5.2f} | {p:8.2f}"


def main() -> None:
    """Train what the record lacks, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    record: Path = arguments.record
    lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    done = {(*(line[name] for name in _key(CASES[0])), line["seed"], line["run"]) for line in lines}
    # The pairs that the test needs come first.
    for names in (("dense", "sparse"), ("reversed",)):
        for seed in range(arguments.seeds):
            for case in CASES:
                for new in train(
                    case, seed, [name for name in names if (*_key(case).values(), seed, name) not in done]
                ):
                    lines.append(new)
                    with record.open("a") as file:
                        file.write(json.dumps(new) + "\n")
    print(f"{available_kernels()[-1]}, torch {torch.__version__}, one thread")
    table(lines)


if __name__ == "__main__":
    main()

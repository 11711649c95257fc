"""Synthetic studies that look like real ones, and every way in which a real one can be incomplete."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import pytest

SPARSITIES = (0.2, 0.512, 0.8, 0.9, 0.95, 0.98)
METHODS = ("random", "magnitude", "snip", "grasp", "synflow")
BENCHMARKS = ("magnitude-after-training", "lottery-rewinding")
ABLATIONS = ("unmodified", "shuffle", "reinit", "invert")
COLUMNS = (
    *("study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "density"),
    *("replicate", "test_accuracy", "test_loss", "train_seconds", "status", "job_key"),
    *("code_version", "torch_version", "device", "engine"),
)

# How fast accuracy falls with sparsity, and what each ablation adds to or takes from it at the sparse end.
_FALL = {"random": 0.075, "magnitude": 0.05, "snip": 0.038, "grasp": 0.042, "synflow": 0.036}
_BENCHMARK_FALL = {"magnitude-after-training": 0.014, "lottery-rewinding": 0.017, "imp": 0.010, "imp-rewinding": 0.012}
_ABLATION = {"unmodified": 0.0, "shuffle": 0.004, "reinit": 0.002, "invert": -0.30}


def row(**changes: object) -> dict[str, object]:
    """One line of a results table: a finished run of SNIP, with `changes`."""
    base: dict[str, object] = {
        "study": "synthetic",
        "network": "resnet-20",
        "dataset": "cifar-10",
        "method": "snip",
        "ablation": "unmodified",
        "benchmark": "",
        "prune_at": "0ep",
        "sparsity": 0.9,
        "replicate": 0,
        "test_accuracy": 0.85,
        "test_loss": 0.4,
        "train_seconds": 12.0,
        "status": "done",
        "job_key": "0" * 64,
        "code_version": "0.1.0",
        "torch_version": "2.13.0",
        "device": "cpu",
        "engine": "dense",
    } | changes
    base.setdefault("density", 1 - float(base["sparsity"]))  # pyright: ignore[reportArgumentType]
    return base


def frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """The rows as a results table, columns in the order of `results(out)`."""
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    methods: tuple[str, ...],
    benchmarks: tuple[str, ...],
    ablations: tuple[str, ...],
    sparsities: tuple[float, ...],
    replicates: int,
    prune_at: tuple[str, ...],
) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(7)
    luck = rng.normal(0, 0.002, replicates)
    for replicate in range(replicates):
        yield row(
            method="dense",
            sparsity=0.0,
            prune_at="",
            replicate=replicate,
            test_accuracy=0.915 + luck[replicate],
        )
    cells = [(m, "", at) for m, at in product(methods, prune_at)]
    cells += [("magnitude", b, "end") for b in benchmarks]
    for (method, benchmark, at), ablation, sparsity, replicate in product(
        cells, ablations, sparsities, range(replicates)
    ):
        if method == "random" and ablation != "unmodified":
            continue
        kind, _, rewound = benchmark.partition(":")
        fall = _BENCHMARK_FALL[kind] if benchmark else _FALL.get(method, 0.04)
        if rewound:
            fall += 0.02 / (1 + float(rewound.removesuffix("ep").removesuffix("it")))
        late = 0.0 if benchmark or at == "end" else float(at.removesuffix("ep").removesuffix("it"))
        strength = (-math.log(1 - sparsity)) ** 1.3 / (1 + late / 1500)
        effect = _ABLATION[ablation] * (0.2 if method == "grasp" else 1.0) * sparsity**3
        if benchmark and ablation in ("shuffle", "reinit"):
            effect = -0.03 * sparsity**2
        accuracy = max(
            0.1, 0.918 - fall * strength + effect + luck[replicate] + rng.normal(0, 0.002 + 0.004 * strength)
        )
        yield row(
            method=method,
            ablation=ablation,
            benchmark=benchmark,
            prune_at=at,
            sparsity=sparsity,
            replicate=replicate,
            test_accuracy=accuracy,
        )


def make_results(
    *,
    methods: tuple[str, ...] = METHODS,
    benchmarks: tuple[str, ...] = BENCHMARKS,
    ablations: tuple[str, ...] = ABLATIONS,
    sparsities: tuple[float, ...] = SPARSITIES,
    replicates: int = 5,
    prune_at: tuple[str, ...] = ("0ep",),
) -> pd.DataFrame:
    """A results table as a whole study of that size would give it, reproducible, plausible and invented."""
    return frame(list(_rows(methods, benchmarks, ablations, sparsities, replicates, prune_at)))


def layer_rows(
    *,
    method: str = "snip",
    kept: tuple[int, ...] = (100, 0),
    units: tuple[dict[int, int], ...] = ({0: 2, 10: 2, 60: 1}, {0: 10}),
    replicates: int = 2,
    **changes: object,
) -> list[dict[str, object]]:
    """Rows of one cell: a stem and a classifier of 200 weights each; each replicate keeps one weight more."""
    cell = {name: row(method=method)[name] for name in ("study", "network", "dataset", "ablation", "benchmark")}
    cell |= {"method": method, "prune_at": "0ep", "sparsity": 0.9} | changes
    return [
        cell | {"replicate": r, "layer": layer, "kept": count + r, "total": 200, "units_by_kept_inputs": by_inputs}
        for r in range(replicates)
        for layer, count, by_inputs in zip(("stem.weight", "fc.weight"), kept, units, strict=True)
    ]


def make_layers(
    methods: tuple[str, ...] = ("random", "snip", "mine"), sparsities: tuple[float, ...] = (0.8, 0.95)
) -> pd.DataFrame:
    """A table of layers with ablations, another step, and two benchmarks that have the same masks."""
    rows: list[dict[str, object]] = []
    for method, s in product(methods, sparsities):
        rows += layer_rows(method=method, sparsity=s)
        rows += layer_rows(method=method, sparsity=s, kept=(7, 7), prune_at="10ep")
        if method != "random":
            rows += layer_rows(method=method, sparsity=s, ablation="shuffle", units=({1: 1, 20: 4}, {0: 1, 1: 9}))
            rows += layer_rows(method=method, sparsity=s, ablation="reinit")
    for name, s in product(("magnitude-after-training", "lottery-rewinding", "lottery-rewinding:2ep"), sparsities):
        rows += layer_rows(method="magnitude", benchmark=name, prune_at="end", sparsity=s, kept=(30, 60))
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    return make_results()

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
    *("code_version", "torch_version", "device"),
)

# How fast accuracy falls with sparsity, and what each ablation adds to or takes from it at the sparse end.
_FALL = {"random": 0.075, "magnitude": 0.05, "snip": 0.038, "grasp": 0.042, "synflow": 0.036}
_BENCHMARK_FALL = {"magnitude-after-training": 0.014, "lottery-rewinding": 0.017}
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
        fall = _BENCHMARK_FALL[benchmark] if benchmark else _FALL.get(method, 0.04)
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


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    return make_results()

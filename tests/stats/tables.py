"""Tables of results, made by hand."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

COLUMNS = [
    "study",
    "network",
    "dataset",
    "method",
    "ablation",
    "benchmark",
    "prune_at",
    "sparsity",
    "density",
    "replicate",
    "test_accuracy",
    "test_loss",
    "train_seconds",
    "status",
    "job_key",
    "code_version",
    "torch_version",
    "device",
]


def rows(
    method: str,
    accuracies: Sequence[float],
    *,
    sparsity: float = 0.9,
    ablation: str = "unmodified",
    benchmark: str = "",
    prune_at: str = "0ep",
    study: str = "demo",
    status: str = "done",
    job: str = "",
) -> list[dict[str, Any]]:
    """One row a replicate of one cell; accuracies in percent, and trainings of its own unless `job` names others."""
    fixed = {
        "study": study,
        "network": "resnet-8",
        "dataset": "digits",
        "method": method,
        "ablation": ablation,
        "benchmark": benchmark,
        "prune_at": prune_at,
        "sparsity": sparsity,
        "density": 1 - sparsity,
        "test_loss": 0.1,
        "train_seconds": 1.0,
        "status": status,
        "job_key": "",
        "code_version": "0.1.0",
        "torch_version": "2.13.0",
        "device": "cpu",
    }
    return [
        {**fixed, "replicate": i, "test_accuracy": a / 100, "job_key": f"{job or fixed}, {i}"}
        for i, a in enumerate(accuracies)
    ]


def dense(accuracies: Sequence[float], **options: Any) -> list[dict[str, Any]]:
    return rows("dense", accuracies, sparsity=0.0, prune_at="", **options)


def trained(
    accuracies: Sequence[float], name: str = "magnitude-after-training", **options: Any
) -> list[dict[str, Any]]:
    return rows("magnitude", accuracies, benchmark=name, prune_at="end", **options)


def table(*parts: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part], columns=COLUMNS)

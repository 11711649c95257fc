"""The columns of the tables that prunemark gives out: names, in this order."""

from typing import Literal

Status = Literal["done", "diverged", "failed"]

SUBJECT = ("study", "network", "dataset")
"""What a comparison never crosses."""

TRIAL = (
    *SUBJECT,
    "method",
    "ablation",
    "benchmark",
    "prune_at",
    "sparsity",
    "density",
    "effective_density",
    "unscored",
    "replicate",
    "test_accuracy",
    "test_loss",
    "train_seconds",
    "status",
    "job_key",
    "code_version",
    "torch_version",
    "device",
    "engine",
    "processor",
    "method_name",
    "margin",
    "looks",
    "test_images",
    "classes",
    "steps_per_epoch",
    "last_gain",
    "initial_overlap",
    "metric",
    "metric_value",
    "metric_direction",
    "metric_unit",
)
"""The results: one row per trial. From method_name on, what a verdict needs beside the accuracies."""

FIXED = "fixed"
"""What the column `looks` says of a study whose number of replicates was fixed before it ran."""

CURVE = (
    *(*SUBJECT, "method", "ablation", "benchmark", "prune_at", "sparsity", "replicate"),
    *("epoch", "step", "train_loss", "test_loss", "test_accuracy", "job_key"),
)
"""Learning curves: one row per trial and epoch."""

LAYER = (
    *(*SUBJECT, "method", "ablation", "benchmark", "prune_at", "sparsity", "replicate"),
    *("layer", "kept", "total", "units_by_kept_inputs", "effective", "dead_units", "units"),
)
"""What masks keep: one row per trial and layer."""

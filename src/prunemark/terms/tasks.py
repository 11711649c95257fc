"""What networks are trained to do, and what their outputs and targets are. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task.

    Attributes:
        summary: what is predicted.
        outputs: shape of a network's outputs.
        targets: type and shape of the targets.
        losses: names in `prunemark.recipes.LOSSES` that fit it, the usual one first.
        metric: the usual name in `prunemark.terms.metrics.METRICS`.
    """

    summary: str
    outputs: str
    targets: str
    losses: tuple[str, ...]
    metric: str


TASKS: dict[str, Task] = {
    "classification": Task(
        summary="the class of an example",
        outputs="(N, classes)",
        targets="whole numbers (N,)",
        losses=("cross-entropy", "mse"),
        metric="accuracy",
    ),
    "segmentation": Task(
        summary="the class of each pixel",
        outputs="(N, classes, H, W)",
        targets="whole numbers (N, H, W)",
        losses=("cross-entropy", "mse"),
        metric="accuracy",
    ),
    "next-token": Task(
        summary="the token after each token",
        outputs="(N, T, tokens)",
        targets="whole numbers (N, T)",
        losses=("cross-entropy",),
        metric="accuracy",
    ),
    "regression": Task(
        summary="numbers",
        outputs="(N, values)",
        targets="numbers (N, values) or (N,)",
        losses=("mse",),
        metric="loss",
    ),
}

"""Weights & Biases: one run per trial, grouped by study."""

from pathlib import Path
from typing import Any

from prunemark.study.tracking.record import Record


class WandbTracker:
    """Makes a run for each trial; offline where WANDB_MODE says so.

    What was asked is its configuration; the curve is logged by epoch, results are its summary.

    Args:
        target: the project; by default prunemark.
        folder: of results, below which files of runs are kept.
        study: the study's name, which is the runs' group.
    """

    def __init__(self, target: str, folder: Path, study: str, /) -> None:
        self.project, self.folder, self.study = target or "prunemark", folder, study

    def send(self, record: Record, /) -> None:
        """Make a run of a trial."""
        import wandb  # pyright: ignore[reportMissingImports]

        run: Any = wandb.init(
            project=self.project,
            group=self.study,
            name=record.name,
            config=record.asked,
            dir=str(self.folder),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        try:
            for epoch, measured in record.curve:
                run.log({"epoch": epoch, **measured}, step=epoch)
            run.summary.update({f"result/{name}": value for name, value in record.results.items()})
        finally:
            run.finish()

    def close(self) -> None:
        """Nothing is open between trials."""

"""TensorBoard: one run per trial, in a folder. Imports torch, whose writer it is."""

import re
from pathlib import Path
from typing import Any

from prunemark.study.tracking.record import Record


class TensorBoardTracker:
    """Writes event files to STUDY/TRIAL below a folder: scalars by epoch, results as "result/NAME", what was asked.

    Args:
        target: the folder; by default tensorboard in the folder of results.
        folder: of results.
        study: the study's name.
    """

    def __init__(self, target: str, folder: Path, study: str, /) -> None:
        self.folder = (Path(target) if target else folder / "tensorboard") / study

    def send(self, record: Record, /) -> None:
        """Write a trial's event file."""
        from torch.utils.tensorboard.writer import SummaryWriter

        writer: Any = SummaryWriter(str(self.folder / re.sub(r"[^A-Za-z0-9._=+-]+", "_", record.name)))
        try:
            last = 0
            for epoch, measured in record.curve:
                last = epoch
                for name, value in measured.items():
                    writer.add_scalar(name, value, epoch)
            for name, value in record.results.items():
                writer.add_scalar(f"result/{name}", value, last)
            writer.add_text("asked", "\n".join(f"    {name} = {value}" for name, value in record.asked.items()))
        finally:
            writer.close()

    def close(self) -> None:
        """Nothing is open between trials."""

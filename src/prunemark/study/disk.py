"""Room on the disk: what a run will need, what there is, and what to say when it runs out. No torch."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prunemark.study.job import Job
from prunemark.study.lock import StoreError

# Of the database, a job: its numbers, and counts for each layer; 3 to 28 KB were measured.
_ROW_BYTES = 20_000


class DiskFullError(StoreError):
    """There is no room for results; what is stored is whole."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of what a network's jobs store.

    Attributes:
        state: all parameters and buffers.
        weights: how many weights are prunable, a byte each in a mask.
    """

    state: int = 0
    weights: int = 0


def needed_bytes(jobs: Iterable[Job], sizes: Sizes, workers: int) -> int:
    """Bytes that the artifacts and results of some jobs take, and the checkpoints of those under way."""
    total = trainings = 0
    for job in jobs:
        total += _ROW_BYTES
        if job.kind == "score":
            total += sizes.weights * (8 if job.spec.get("score_dtype") == "float64" else 4)
        elif job.kind == "mask":
            total += sizes.weights
        elif job.kind == "dense" or job.keeps_state:
            # Momentum is as large as the weights.
            total += sizes.state * (2 if job.steps else 1)
        trainings += bool(job.steps)
    # The old checkpoint is there until the new one is whole.
    return total + min(workers, trainings) * 4 * sizes.state


def require_room(folder: str | Path, needed: int) -> None:
    """Make sure that a disk has room.

    Raises:
        DiskFullError: it has not; says how much is needed and how much there is.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise DiskFullError(
            f"the study needs about {_words(needed)} in {folder}, and {_words(free)} are free there; "
            "free space, or use a folder on another disk"
        )


def disk_full(folder: str | Path, reason: str, left: int) -> DiskFullError:
    """The error of a run that the disk is too full for.

    Args:
        folder: of the results.
        reason: what could not be written.
        left: how many jobs are left.
    """
    first = reason.partition("\n")[0]
    return DiskFullError(
        f"no space is left for {folder} ({first}). All that was stored is whole, and {left:,} jobs are left; free "
        "space, then run the same command again"
    )


def _words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 0) / 1e6:.1f} MB"

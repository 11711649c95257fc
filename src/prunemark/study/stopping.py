"""End of a study with looks: the findings of each look, and which studies are the same one. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunemark.study.lock import StoreError
from prunemark.study.replicates import parse, sizes
from prunemark.study.spec import Study
from prunemark.terms.looks import SIZES, Looks
from prunemark.terms.numbers import counted


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """State of a study with looks; it follows from the stored results alone.

    Attributes:
        looks: those of the study.
        replicates: how many have begun: those of one of the looks.
        finished: whether all their runs have.
        failed: whether all their runs failed.
        settled, total: of the questions about claims, or of the cells, whichever the study asks for.
        trainings: of subnetworks and of the dense network, in all replicates that have begun.
    """

    looks: Looks
    replicates: int
    finished: bool
    failed: bool
    settled: int
    total: int
    trainings: int

    @property
    def look(self) -> int:
        """Number of the look that the replicates begun so far are for, counted from 1."""
        return self.looks.sizes.index(self.replicates) + 1

    @property
    def following(self) -> int | None:
        """Number of replicates at the next look; None at the last."""
        return next((size for size in self.looks.sizes if size > self.replicates), None)

    @property
    def stops(self) -> bool:
        """True if the study has ended: all is settled, no replicates are left, or none of its runs succeeds."""
        return self.finished and (self.settled == self.total or self.following is None or self.failed)

    @property
    def saved(self) -> int:
        """Number of trainings that the replicates that were not run would have taken."""
        return self.trainings * (self.looks.max - self.replicates) // self.replicates

    @property
    def words(self) -> str:
        """Its state, as parts of a sentence: "stopped at look 2 of 5, every question settled; 276 trainings
        saved"."""
        place = f"look {self.look} of {len(self.looks.sizes)}"
        if not self.finished:
            return f"{place} is not complete"
        if not self.stops:
            return f"{place} left {self._open}; the next is at {self.following} replicates"
        if self.failed:
            return f"stopped at {place}, every run failed"
        if self.following is None:
            return f"ended at the last look, {self.look} of {self.look}, {self._reason}"
        return f"stopped at {place}, {self._reason}; {counted(self.saved, 'training')} saved"

    @property
    def _reason(self) -> str:
        noun = _NOUNS[self.looks.until]
        if not self.total:
            return f"no {noun} can be tested"
        return f"every {noun} settled" if self.settled == self.total else self._open

    @property
    def _open(self) -> str:
        return f"{self.total - self.settled} of {counted(self.total, _NOUNS[self.looks.until])} open"


_NOUNS = {"claims": "question", "cells": "cell"}


def require_same_looks(stored: Mapping[str, Any] | None, study: Study, folder: str | Path) -> None:
    """Refuse a study whose looks are not those that a folder holds it with.

    The error that each look may spend depends on all of them, so they cannot change once results were looked at. Which
    questions end the study may: intervals hold whatever ends it. A number of replicates may give way to another one,
    and to looks if it is too small for a verdict: one that had verdicts has spent its error.

    Raises:
        StoreError: the looks differ, or only one of the two has looks.
    """
    if stored is None:
        return
    before = parse(stored["replicates"])
    if isinstance(before, int) and before < SIZES[0]:
        return
    if (before if isinstance(before, Looks) else study.looks) and sizes(before) != study.sizes:
        raise StoreError(
            f"{folder} holds {study.name} with {_told(before)}, on which its verdicts rest, and "
            f"{_told(study.replicates)} make another study: give it another name, and nothing that is here is trained "
            "again, or use another folder"
        )


def _told(replicates: int | Looks) -> str:
    return str(replicates) if isinstance(replicates, Looks) else counted(replicates, "replicate")

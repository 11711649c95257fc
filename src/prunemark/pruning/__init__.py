"""Scores and masks: score and select, once or in rounds."""

from prunemark.pruning.scorer import prune, score
from prunemark.pruning.selection import select

__all__ = ["prune", "score", "select"]

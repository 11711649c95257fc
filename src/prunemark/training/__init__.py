"""Training: the loop, its engines, the learning-rate schedule, augmentation, evaluation, checkpoints."""

from prunemark.training.augmentation import Augmenter
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.evaluation import Evaluation, evaluate
from prunemark.training.loop import EpochRecord, OnEpoch, Trained, train
from prunemark.training.schedule import learning_rate

__all__ = [
    "Augmenter",
    "Checkpoint",
    "EpochRecord",
    "Evaluation",
    "OnEpoch",
    "Trained",
    "evaluate",
    "learning_rate",
    "train",
]

"""Training: the loop, the learning-rate schedule, augmentation, evaluation, checkpoints."""

from prunemark.training.augmentation import Augmenter
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.evaluation import Evaluation, evaluate
from prunemark.training.loop import Trained, train
from prunemark.training.schedule import learning_rate

__all__ = ["Augmenter", "Checkpoint", "Evaluation", "Trained", "evaluate", "learning_rate", "train"]

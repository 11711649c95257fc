"""The training loop."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor, nn

from prunemark.datasets import Split
from prunemark.models.isolation import isolated, seed_generators
from prunemark.models.unsaved import unchanged
from prunemark.parts import Keeper
from prunemark.randomness import derive
from prunemark.recipes import Recipe
from prunemark.training.batches import Batches
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.divergence import LossWatch
from prunemark.training.engines import Engine, start_engine
from prunemark.training.evaluation import Evaluation
from prunemark.training.resuming import Resumed, keep, resumed
from prunemark.training.schedule import learning_rate

if TYPE_CHECKING:
    import pandas as pd


class EpochRecord(TypedDict):
    """One epoch of training, when it has ended.

    `step` and `epoch` count from the beginning of the schedule. `train_loss` is the mean over the examples of the epoch
    that this run visited, each as it was before its step; test_accuracy, a fraction in [0, 1], and test_loss are those
    of the model at the end of the epoch, NaN without a test set.
    """

    step: int
    epoch: int
    test_accuracy: float
    test_loss: float
    train_loss: float


OnEpoch = Callable[[EpochRecord, Callable[[], Checkpoint]], None]
"""Called after each epoch with its record and with what copies the state of training as it is then."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Outcome of a training run.

    Attributes:
        checkpoint: the state at the last step taken.
        test_accuracy: top-1 accuracy, a fraction in [0, 1]; NaN without a test set.
        test_loss: mean of the recipe's loss, without label smoothing; NaN without a test set.
        train_seconds: time of the training steps of this run, evaluations left out.
        diverged: a loss was not finite and training stopped there, or the state it ended in is not finite.
        engine: the name of the engine that took the steps.
        engine_reason: why "auto" stands for that one here, in a sentence; empty where it was asked for by name.
        correct: which test examples the network got right at the end, boolean (N,); None without a test set.
        history: with `evaluate_every_epoch` or `on_epoch`, one record for each epoch that ended in this run.
    """

    checkpoint: Checkpoint
    test_accuracy: float
    test_loss: float
    train_seconds: float
    diverged: bool
    engine: str
    engine_reason: str = ""
    correct: Tensor | None = None
    history: list[EpochRecord] = field(default_factory=list[EpochRecord])

    @property
    def curve(self) -> "pd.DataFrame":
        """The history as a table: one row per epoch, with columns epoch, step, train_loss, test_loss, test_accuracy."""
        import pandas as pd

        return pd.DataFrame(self.history, columns=["epoch", "step", "train_loss", "test_loss", "test_accuracy"])


def train(
    model: nn.Module,
    data: Split,
    recipe: Recipe,
    *,
    seed: int,
    masks: Mapping[str, Tensor] | None = None,
    test: Split | None = None,
    start: Checkpoint | None = None,
    until: int | None = None,
    evaluate_every_epoch: bool = False,
    on_epoch: OnEpoch | None = None,
    engine: str = "dense",
    device: str | torch.device = "cpu",
    keeper: Keeper | None = None,
) -> Trained:
    """Train a model in place with the recipe's optimizer and schedule, all data in memory.

    With SGD the gradient is g = dL/dw + weight_decay * w for every parameter, v = momentum * v + g, and
    w = w - lr(step) * v. Epoch e visits the training set in the order of `generator(seed, "order", e)`, cut into
    batches as `Recipe.steps_per_epoch` says, so that the order depends on nothing but seed and epoch. The recipe's
    augmentations are drawn from `generator(seed, "augment", e)`, for all examples when the epoch begins; mixup is drawn
    from seed, epoch and the batch's place in it.

    What the model itself draws (dropout) comes from generators seeded by seed and step; the global ones are restored.

    Weights that a mask prunes are exactly 0 at every step and in the checkpoint, and so is what the optimizer and a
    moving average hold of them. A moving average (`Recipe.ema`) is what is evaluated and what the model holds
    afterwards; the checkpoint has both.
    Training until step k and then on from that checkpoint gives, bit for bit, what one run gives (on an accelerator:
    as far as its kernels are deterministic).

    Args:
        model: maps (N, C, H, W) to logits (N, classes). Afterwards it is on the device, in the mode (train or eval)
            in which it came, with contiguous weights.
        data: the training examples; moved to the device as a whole.
        recipe: hyperparameters.
        seed: the replicate's seed.
        masks: parameter name -> boolean tensor of its shape, True = kept; a `Masks`, for example.
        test: evaluated at the end and, if asked, after each epoch.
        start: continue from this state instead of from the model's own; the model takes its weights and buffers.
        until: stop after this many steps, counted from the beginning of the schedule. Default: the whole schedule.
        evaluate_every_epoch: fill `Trained.history`; needs `test`.
        on_epoch: called after each epoch with its record and a function that returns a checkpoint of that moment. The
            test set is evaluated for it with `evaluate_every_epoch` only.
        engine: a name in ENGINES, or "auto": "sparse" where that can train the model and is faster, else "dense".
        device: where to train.
        keeper: keeps the state of training now and then. Where it holds one of this training, that is continued, and
            comes to what it would have come to.

    Returns:
        Trained. When a loss is not finite, training stops at most one step later, and the run counts as diverged, but
        is evaluated all the same; the step of its checkpoint is the number of steps before that loss.

    Raises:
        ValueError: `until` before the start or after the end of the schedule; masks or a checkpoint that do not
            fit the model; `evaluate_every_epoch` without `test`; an unknown engine, or one that cannot train the model.
    """
    examples = len(data.inputs)
    total_steps = recipe.total_steps(examples)
    device = torch.device(device)
    is_whole = unchanged(model) if keeper else lambda: True
    before = resumed(keeper, device)
    if before:
        start = before.checkpoint
    first = start.step if start else 0
    last = total_steps if until is None else until
    if not 0 <= first <= last <= total_steps:
        raise ValueError(f"cannot train from step {first} until step {last} of a schedule of {total_steps} steps")
    if evaluate_every_epoch and test is None:
        raise ValueError("evaluate_every_epoch needs a test set")
    device = torch.device(device)

    with contextlib.ExitStack() as stack:
        stack.enter_context(isolated(seed, "training", device=device))
        started = start_engine(engine, model, recipe, masks or {}, start, device, data=data)
        running = stack.enter_context(contextlib.closing(started.engine))
        batches = Batches(data, recipe, seed=seed, device=device, memory_format=running.memory_format)
        held_out = Split(inputs=test.inputs.to(device), targets=test.targets.to(device)) if test is not None else None
        watch, epochs = LossWatch(device), _Epochs(running, held_out if evaluate_every_epoch else None, on_epoch)
        records = evaluate_every_epoch or on_epoch is not None
        first_draw = derive(seed, "step")
        step, diverged, evaluation = first, False, None
        train_seconds, began = 0.0, time.perf_counter()
        if before:
            train_seconds = before.train_seconds
            epochs.resume(before)
        while step < last:
            epoch, position = divmod(step, batches.per_epoch)
            if position == 0 or step == first:
                batches.begin(epoch)
                if position == 0 or before is None:
                    epochs.begin()
            if running.draws:
                # What the model draws (dropout) depends on seed and step alone, wherever training was begun or resumed.
                seed_generators((first_draw + step) % 2**63, device)
            lr = learning_rate(recipe, step, batches.per_epoch)
            whole = batches.whole(position)
            loss = running.step_on(*whole, lr) if whole else running.step(*batches[position], lr)
            ends_epoch = position + 1 == batches.per_epoch
            bad = watch.first_bad(step, loss, wait=ends_epoch or step + 1 == last)
            if bad is not None:
                step, diverged = bad, True
                break
            step, evaluation = step + 1, None
            if records:
                epochs.add(loss, batches.size(position))
                if ends_epoch:
                    train_seconds += time.perf_counter() - began
                    evaluation = epochs.end(step, epoch + 1)
                    began = time.perf_counter()
            # A loss that is not known to be finite yet must not be the last of a state to continue from.
            # Nor may a state that leaves out part of what the model carries along: that training begins again.
            if keeper and keeper.due(step) and step < last and math.isfinite(loss.item()) and is_whole():
                train_seconds += time.perf_counter() - began
                keep(keeper, epochs.state(running.checkpoint(step), train_seconds))
                began = time.perf_counter()
        train_seconds += time.perf_counter() - began
        if held_out is not None and evaluation is None:
            evaluation = running.evaluate(held_out)
        checkpoint = running.checkpoint(step)
    finite = all(bool(tensor.isfinite().all()) for tensor in checkpoint.model.values())
    return Trained(
        checkpoint=checkpoint,
        test_accuracy=evaluation.accuracy if evaluation else math.nan,
        test_loss=evaluation.loss if evaluation else math.nan,
        train_seconds=train_seconds,
        diverged=diverged or not finite or (evaluation is not None and not math.isfinite(evaluation.loss)),
        engine=started.name,
        engine_reason=started.reason,
        correct=evaluation.correct if evaluation else None,
        history=epochs.history,
    )


class _Epochs:
    """Record of a training, epoch by epoch."""

    def __init__(self, engine: Engine, test: Split | None, on_epoch: OnEpoch | None) -> None:
        self._engine, self._test, self._on_epoch = engine, test, on_epoch
        self._losses, self._examples = list[Tensor](), 0
        self.history: list[EpochRecord] = []

    def resume(self, before: Resumed) -> None:
        self.history = before.history
        self._losses, self._examples = list(before.losses), before.examples

    def state(self, checkpoint: Checkpoint, train_seconds: float) -> Resumed:
        return Resumed(
            checkpoint=checkpoint,
            train_seconds=train_seconds,
            history=self.history,
            losses=self._losses,
            examples=self._examples,
        )

    def begin(self) -> None:
        self._losses, self._examples = [], 0

    def add(self, loss: Tensor, examples: int) -> None:
        self._losses.append(loss * examples)
        self._examples += examples

    def end(self, step: int, epoch: int) -> Evaluation | None:
        evaluation = self._engine.evaluate(self._test) if self._test is not None else None
        record = EpochRecord(
            step=step,
            epoch=epoch,
            test_accuracy=evaluation.accuracy if evaluation else math.nan,
            test_loss=evaluation.loss if evaluation else math.nan,
            train_loss=torch.stack(self._losses).sum().item() / self._examples,
        )
        self.history.append(record)
        if self._on_epoch:
            self._on_epoch(record, lambda: self._engine.checkpoint(step))
        return evaluation

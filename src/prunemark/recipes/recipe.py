"""`Recipe`: hyperparameters of one training run, checked as a whole."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self, cast

from prunemark.own_code import OwnCode, is_own_code
from prunemark.recipes.augmentations import augment_problems
from prunemark.recipes.optimizers import OPTIMIZERS, optimizer_problem, option_problems, plain
from prunemark.recipes.values import (
    AMOUNT,
    COUNT,
    EPOCHS,
    FACTOR,
    FRACTION,
    NAME,
    NAMES,
    OPTIONS,
    POSITIVE,
    Kind,
    is_integer,
)
from prunemark.registry import unknown
from prunemark.terms.steps import Step

SCHEDULES: dict[str, str] = {
    "steps": "lr, divided by drop_factor at each of the drops",
    "cosine": "from lr to final_lr along half a period of a cosine",
    "linear": "from lr to final_lr along a line",
    "constant": "lr",
}
"""Learning rates after the warm-up, by name."""

LOSSES: dict[str, str] = {
    "cross-entropy": "cross-entropy of the logits and the class",
    "mse": "mean squared difference of the outputs and the targets; a class is a vector of zeros and a one",
}
"""Losses by name; "FILE.py:loss" is one of the user's own."""

PRECISIONS: dict[str, str] = {
    "float32": "everything in float32",
    "bfloat16": "convolutions and products in bfloat16; weights, their updates and the loss in float32",
}
"""Precisions of training steps, by name."""


class _Default(float):
    """A number that depends on the optimizer unless it is given."""


_INITIALISATION = Step(0, "it")
# Fields of the first version; in a job's key the others are named only where they are not as ever.
_FIRST = (
    *("epochs", "batch_size", "lr", "momentum", "weight_decay"),
    *("drops", "warmup_epochs", "augment", "rewind_to"),
)

_MOST_EPOCHS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of one training run.

    Attributes:
        epochs: passes over the training set, at least 1.
        batch_size: examples per step, at least 1.
        lr: learning rate after the warm-up, above 0. By default 0.1 for SGD, and torch's default for other optimizers.
        momentum: in [0, 1), of an optimizer that has it. By default 0.9 for SGD, 0 for others.
        weight_decay: at least 0, for all parameters; an L2 penalty, but for "adamw", which multiplies each parameter by
            1 - lr * weight_decay.
        drops: epochs, increasing, at which the learning rate is divided by `drop_factor`; each in (0, epochs).
        warmup_epochs: epochs over which the learning rate rises linearly from 0, in [0, epochs].
        augment: names of `AUGMENTATIONS` of the training images, each once, applied in this order.
        rewind_to: the step of dense training that lottery ticket rewinding goes back to; its text, "1000it" or "6ep",
            will do.
        optimizer: a name in `OPTIMIZERS`, which are those of torch.optim, in capitals or not.
        optimizer_options: its other arguments in torch.optim, such as {"nesterov": True} or {"betas": (0.9, 0.95)}.
        schedule: a name in `SCHEDULES`.
        drop_factor: above 1.
        final_lr: learning rate at the end of "cosine" and "linear", in [0, lr].
        loss: a name in `LOSSES`, or "FILE.py:loss", called as loss(outputs, targets) -> mean over the batch.
        label_smoothing: share of a target that cross-entropy spreads evenly over all classes, in [0, 1). The test loss
            and the scores of methods are without it.
        clip_norm: the L2 norm of the gradient of all parameters together, above which it is scaled down to it; 0: none.
        mixup: alpha of mixup, which trains on m * x_i + (1 - m) * x_j with the loss m * L(y_i) + (1 - m) * L(y_j), with
            m drawn from Beta(alpha, alpha) for each batch and j from the batch (Zhang et al. 2018, arXiv 1710.09412);
            0: none.
        ema: decay d, in [0, 1), of the weights' moving average a = d * a + (1 - d) * w after each step, which begins as
            the weights after the first step. What is evaluated, and what training ends in, is the average, BatchNorm
            statistics included; 0: none.

        precision: a name in `PRECISIONS`, of the steps of all trainings. Evaluation and scores are in float32 or more.

    Raises:
        ValueError: a value out of its range; the message lists every problem.

    Examples:
        >>> recipe = pm.Recipe(epochs=20, optimizer="adamw", schedule="cosine", warmup_epochs=2)
        >>> recipe.lr, recipe.momentum
        (0.001, 0.0)
    """

    epochs: int
    batch_size: int = 128
    lr: float = _Default(0.1)
    momentum: float = _Default(0.9)
    weight_decay: float = 1e-4
    drops: tuple[float, ...] = ()
    warmup_epochs: float = 0.0
    augment: tuple[str, ...] = ()
    rewind_to: Step = _INITIALISATION
    optimizer: str = "sgd"
    optimizer_options: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)
    schedule: str = "steps"
    drop_factor: float = 10.0
    final_lr: float = 0.0
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        wrong = {name: kind for name, kind in _KINDS.items() if not kind.holds(getattr(self, name))}
        problems = [f"{name} is {kind.words}, not {getattr(self, name)!r}" for name, kind in wrong.items()]
        if not wrong.keys() & {"optimizer", "lr", "momentum"}:
            self._default_to_optimizers()
        for fields, check in _CHECKS:
            if not wrong.keys() & fields:
                problems += check(self)
        if problems:
            raise ValueError("; ".join(problems))
        self._spell_once()

    def _default_to_optimizers(self) -> None:
        object.__setattr__(self, "optimizer", self.optimizer.lower())
        if entry := OPTIMIZERS.get(self.optimizer):
            for name, value in (("lr", entry.lr), ("momentum", entry.momentum or 0.0)):
                if isinstance(getattr(self, name), _Default):
                    object.__setattr__(self, name, value)

    def _spell_once(self) -> None:
        """One spelling of each value, so that equal recipes are equal as JSON too."""
        for name in _FLOATS:
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "drops", tuple(float(drop) for drop in self.drops))
        object.__setattr__(self, "augment", tuple(self.augment))
        object.__setattr__(self, "rewind_to", _step(self.rewind_to))
        object.__setattr__(self, "optimizer_options", plain(self.optimizer_options))
        if is_own_code(self.loss):
            object.__setattr__(self, "loss", OwnCode.find(self.loss).reference)

    def override(self, changes: Mapping[str, Any]) -> Self:
        """This recipe with some fields changed.

        Where `epochs` changes, drops and warm-up that are not changed too scale in proportion; `rewind_to`
        does not, because it marks a point early in training and not a share of it. Another optimizer, schedule or loss
        takes its own defaults for what only another has: `lr`, `momentum` and options with the optimizer, drops and
        `final_lr` with the schedule, label smoothing with the loss. A changed batch size leaves the learning rate as it
        is; `notes` says so.

        Raises:
            ValueError: an unknown field, or a value out of its range; the message lists every problem.
        """
        names = [f.name for f in dataclasses.fields(self)]
        strangers = [unknown("recipe field", name, names) for name in changes if name not in names]
        values = self._others_defaults(changes) | {name: value for name, value in changes.items() if name in names}
        epochs = values.get("epochs", self.epochs)
        if is_integer(epochs) and epochs > _MOST_EPOCHS:
            raise ValueError(f"epochs must be at most {_MOST_EPOCHS:,}; got a number of {len(str(epochs))} digits")
        if is_integer(epochs) and epochs >= 1:
            values.setdefault("drops", tuple(drop * epochs / self.epochs for drop in self.drops))
            values.setdefault("warmup_epochs", self.warmup_epochs * epochs / self.epochs)
        try:
            changed = dataclasses.replace(self, **values)
        except ValueError as error:
            raise ValueError("; ".join([*strangers, str(error)])) from None
        if strangers:
            raise ValueError("; ".join(strangers))
        return changed

    def _others_defaults(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults of fields that belong to the optimizer, schedule or loss, where that changes."""
        defaults: dict[str, Any] = {}
        optimizer = changes.get("optimizer", self.optimizer)
        if not isinstance(optimizer, str) or optimizer.lower() != self.optimizer:
            defaults |= {"lr": _Default(0.1), "momentum": _Default(0.9), "optimizer_options": {}}
        if changes.get("schedule", self.schedule) != self.schedule:
            defaults |= {"final_lr": 0.0}
            if changes["schedule"] != "steps":
                defaults |= {"drops": (), "drop_factor": 10.0}
        if changes.get("loss", self.loss) != self.loss:
            defaults |= {"label_smoothing": 0.0}
        return defaults

    def notes(self, base: "Recipe") -> tuple[str, ...]:
        """Possibly unintended effects of the changes from `base`, one sentence each; empty if there are none.

        A changed batch size with the same learning rate is not scaled silently, but named with the learning rate that
        would keep their ratio (the linear scaling rule of Goyal et al. 2017, arXiv 1706.02677).
        """
        found: list[str] = []
        if self.optimizer != base.optimizer:
            found.append(
                f"optimizer is {self.optimizer} instead of {base.optimizer}, with lr = {self.lr:g} and "
                f"weight_decay = {self.weight_decay:g}"
            )
        elif self.batch_size != base.batch_size and self.lr == base.lr:
            scaled = base.lr * self.batch_size / base.batch_size
            found.append(
                f"batch_size is {self.batch_size} instead of {base.batch_size}, and the learning rate stays "
                f"{self.lr:g}; scaled in proportion it would be lr = {scaled:.3g}"
            )
        if base.drops and self.schedule != base.schedule:
            dropped = ", ".join(f"{drop:g}" for drop in base.drops)
            found.append(f"schedule is {self.schedule}, so the drops at epochs {dropped} do not apply")
        if self.optimizer == "rprop" and (self.drops or self.warmup_epochs or self.schedule in ("cosine", "linear")):
            found.append(
                "rprop takes the learning rate of its first step alone: drops and schedule do not apply, and a warm-up "
                "makes it begin with its smallest step"
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """As JSON; fields that the first version did not have are left out where they are as they were then."""
        fields = dataclasses.asdict(self) | {"rewind_to": str(self.rewind_to)}
        return {name: value for name, value in fields.items() if name in _FIRST or value != _LATER[name]}

    def beyond_sgd(self) -> tuple[str, ...]:
        """The fields, as "optimizer = adam", that ask for more in a step than SGD with momentum on cross-entropy."""
        fields = self.to_dict()
        return tuple(f"{name} = {fields[name]}" for name in _OF_A_STEP if name in fields)

    def steps_per_epoch(self, train_examples: int) -> int:
        """Optimizer steps in one epoch over that many examples.

        The last batch of an epoch is as small as it comes out, but never a single example, over which BatchNorm
        has no variance: that one joins the batch before it.

        Raises:
            ValueError: there are no examples.
        """
        if train_examples < 1:
            raise ValueError(f"training needs at least one example, not {train_examples}")
        full, rest = divmod(train_examples, self.batch_size)
        return max(1, full + (rest > 1))

    def total_steps(self, train_examples: int) -> int:
        """Optimizer steps in the whole run over that many examples."""
        return self.epochs * self.steps_per_epoch(train_examples)


def _step(value: object) -> Step | None:
    """The step, or the step that a text says; None for anything else."""
    if isinstance(value, Step):
        return value
    try:
        return Step.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


_KINDS: dict[str, Kind] = {
    "epochs": COUNT,
    "batch_size": COUNT,
    "lr": POSITIVE,
    "momentum": FRACTION,
    "weight_decay": AMOUNT,
    "drops": EPOCHS,
    "warmup_epochs": AMOUNT,
    "augment": NAMES,
    "rewind_to": Kind('a step like "1000it" or "6ep"', lambda value: _step(value) is not None),
    "optimizer": NAME,
    "optimizer_options": OPTIONS,
    "schedule": NAME,
    "drop_factor": FACTOR,
    "final_lr": AMOUNT,
    "loss": NAME,
    "label_smoothing": FRACTION,
    "clip_norm": AMOUNT,
    "mixup": AMOUNT,
    "ema": FRACTION,
    "precision": NAME,
}
_FLOATS = tuple(name for name, kind in _KINDS.items() if kind in (POSITIVE, FRACTION, AMOUNT, FACTOR))
_LATER = {
    f.name: {} if f.name == "optimizer_options" else f.default
    for f in dataclasses.fields(Recipe)
    if f.name not in _FIRST
}
_OF_A_STEP = ("optimizer", "optimizer_options", "loss", "label_smoothing", "clip_norm", "mixup", "ema", "precision")


def _drops_problems(recipe: Recipe) -> list[str]:
    bounds = (0.0, *recipe.drops, float(recipe.epochs))
    if any(earlier >= later for earlier, later in pairwise(bounds)):
        return [f"drops must increase between 0 and the end (epoch {recipe.epochs}), not {list(recipe.drops)}"]
    return []


def _warmup_problems(recipe: Recipe) -> list[str]:
    if recipe.warmup_epochs <= recipe.epochs:
        return []
    return [f"warmup_epochs must end before training does (epoch {recipe.epochs}), not at {recipe.warmup_epochs:g}"]


def _rewind_problems(recipe: Recipe) -> list[str]:
    step = cast("Step", _step(recipe.rewind_to))
    if step.unit != "ep" or step.count <= recipe.epochs:
        return []
    return [f'rewind_to must be before the end (epoch {recipe.epochs}), not at "{step}"']


def _schedule_problems(recipe: Recipe) -> list[str]:
    schedule = recipe.schedule
    if schedule not in SCHEDULES:
        return [unknown("schedule", schedule, SCHEDULES)]
    problems: list[str] = []
    if schedule != "steps" and (recipe.drops or recipe.drop_factor != 10):
        problems.append(f'drops and drop_factor are of the schedule "steps", not of "{schedule}"')
    if recipe.final_lr and schedule not in ("cosine", "linear"):
        problems.append(f'final_lr is of the schedules "cosine" and "linear", not of "{schedule}"')
    if recipe.final_lr > recipe.lr:
        problems.append(f"final_lr must be in [0, lr], not {recipe.final_lr:g} with lr = {recipe.lr:g}")
    return problems


def _optimizer_problems(recipe: Recipe) -> list[str]:
    if problem := optimizer_problem(recipe.optimizer):
        return [problem]
    return option_problems(
        recipe.optimizer,
        recipe.optimizer_options,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )


def _precision_problems(recipe: Recipe) -> list[str]:
    return [] if recipe.precision in PRECISIONS else [unknown("precision", recipe.precision, PRECISIONS)]


def _loss_problems(recipe: Recipe) -> list[str]:
    loss, problems = recipe.loss, list[str]()
    if is_own_code(loss):
        # Read, not imported, as a study is checked.
        try:
            OwnCode.find(loss).check()
        except ValueError as error:
            problems.append(f"loss: {error}")
    elif loss not in LOSSES:
        problems.append(f'{unknown("loss", loss, LOSSES)}; one of your own is "FILE.py:loss"')
    if recipe.label_smoothing and loss != "cross-entropy":
        problems.append(f'label_smoothing is of the loss "cross-entropy", not of "{loss}"')
    return problems


# Contradictions between fields that are right on their own: the fields, and what finds them.
_CHECKS = (
    ({"drops", "epochs"}, _drops_problems),
    ({"warmup_epochs", "epochs"}, _warmup_problems),
    ({"rewind_to", "epochs"}, _rewind_problems),
    ({"augment"}, lambda recipe: augment_problems(tuple(cast("Iterable[str]", recipe.augment)))),
    ({"schedule", "drops", "drop_factor", "final_lr", "lr"}, _schedule_problems),
    ({"optimizer", "optimizer_options", "lr", "momentum", "weight_decay"}, _optimizer_problems),
    ({"loss", "label_smoothing"}, _loss_problems),
    ({"precision"}, _precision_problems),
)

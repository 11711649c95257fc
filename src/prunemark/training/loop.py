"""The training loop."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.datasets import LazyInputs, Split
from prunemark.models.convolutions import sound_convolutions
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.registry import unknown
from prunemark.training.augmentation import Augmenter
from prunemark.training.checkpoint import Checkpoint
from prunemark.training.evaluation import Evaluation, evaluate
from prunemark.training.schedule import learning_rate

# Reading a loss makes an accelerator wait; on the CPU it costs nothing.
_ACCELERATOR_CHECK_STEPS = 100
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run came to.

    Attributes:
        checkpoint: the state at the last step taken.
        test_accuracy: top-1 accuracy, a fraction in [0, 1]; NaN without a test set.
        test_loss: mean cross-entropy; NaN without a test set.
        train_seconds: time of the training steps of this run, evaluations left out.
        diverged: a loss was not finite and training stopped there, or the state it ended in is not finite.
        history: with `evaluate_every_epoch`, one record for each epoch that ended in this run: step, epoch,
            test_accuracy, test_loss, and train_loss (the mean over the steps of the epoch that this run took).
    """

    checkpoint: Checkpoint
    test_accuracy: float
    test_loss: float
    train_seconds: float
    diverged: bool
    history: list[dict[str, float]] = field(default_factory=list[dict[str, float]])


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
    device: str | torch.device = "cpu",
) -> Trained:
    """Train a model in place with SGD and the recipe's schedule, all data in memory.

    The gradient is g = dL/dw + weight_decay * w for every parameter, v = momentum * v + g, and
    w = w - lr(step) * v. Epoch e visits the training set in the order of `generator(seed, "order", e)`, cut into
    batches as `Recipe.steps_per_epoch` says, so that the order depends on nothing but seed and epoch. The recipe's
    augmentations are drawn from `generator(seed, "augment", e)`, for all examples when the epoch begins.

    Weights that a mask prunes are exactly 0 at every step and in the checkpoint, and so is their momentum.
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
        start: go on from this state instead of from the model's own; the model takes its weights and buffers.
        until: stop after this many steps, counted from the beginning of the schedule. Default: the whole schedule.
        evaluate_every_epoch: fill `Trained.history`; needs `test`.
        device: where to train.

    Returns:
        Trained. When a loss is not finite, training stops before that step (on an accelerator within 100
        steps after it), and the run counts as diverged, but is evaluated all the same.

    Raises:
        ValueError: `until` before the start or after the end of the schedule; masks or a checkpoint that do not
            fit the model; `evaluate_every_epoch` without `test`.
    """
    examples = len(data.inputs)
    steps_per_epoch = recipe.steps_per_epoch(examples)
    total_steps = recipe.total_steps(examples)
    first = start.step if start else 0
    last = total_steps if until is None else until
    if not 0 <= first <= last <= total_steps:
        raise ValueError(f"cannot train from step {first} until step {last} of a schedule of {total_steps} steps")
    if evaluate_every_epoch and test is None:
        raise ValueError("evaluate_every_epoch needs a test set")

    if start:
        _restore(model, start)
    was_training = model.training
    layout = _layout(model)
    _move_(model, device, layout)
    inputs = data.inputs.to(device, memory_format=layout)
    targets = data.targets.to(device)
    held_out = (test.inputs.to(device), test.targets.to(device)) if test is not None else None

    parameters = dict(model.named_parameters())
    kept_bits = _kept_bits(parameters, masks or {})
    momentum = _momentum(parameters, start) if recipe.momentum else {}
    for name, bits in kept_bits.items():
        _keep_(parameters[name].data, bits)
        if momentum:
            _keep_(momentum[name], bits)
    optimizer = torch.optim.SGD(
        parameters.values(), momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=True
    )
    for name, buffer in momentum.items():
        optimizer.state[parameters[name]]["momentum_buffer"] = buffer

    check_every = 1 if torch.device(device).type == "cpu" else _ACCELERATOR_CHECK_STEPS
    step, diverged = first, False
    augment = Augmenter(recipe.augment, inputs)
    places = order = torch.empty(0)
    losses, seen = list[Tensor](), 0
    history: list[dict[str, float]] = []
    evaluation: Evaluation | None = None
    train_seconds, began = 0.0, time.perf_counter()
    model.train()
    with sound_convolutions(model):
        while step < last:
            epoch, position = divmod(step, steps_per_epoch)
            if position == 0 or step == first:
                places = torch.randperm(examples, generator=generator(seed, "order", epoch))
                order = places.to(device)
                augment.begin(generator(seed, "augment", epoch))
                losses, seen = [], 0
            # The last batch takes what is left, see Recipe.steps_per_epoch.
            stop = (position + 1) * recipe.batch_size if position + 1 < steps_per_epoch else examples
            batch = order[position * recipe.batch_size : stop]
            if isinstance(inputs, LazyInputs):
                # By numbers on the CPU, so that nothing waits for an accelerator; the next batch is decoded meanwhile.
                images = inputs[places[position * recipe.batch_size : stop]]
                inputs.prefetch(places[stop : stop + recipe.batch_size])
            else:
                images = inputs[batch]

            loss = F.cross_entropy(model(augment(images, batch)), targets[batch])
            if (step % check_every == 0 or step + 1 == last) and not math.isfinite(loss.item()):
                diverged = True
                break
            optimizer.zero_grad()
            loss.backward()
            for name, bits in kept_bits.items():
                if (gradient := parameters[name].grad) is not None:
                    _keep_(gradient, bits)
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, steps_per_epoch)
            optimizer.step()
            step += 1

            evaluation = None
            losses.append(loss.detach() * len(batch))
            seen += len(batch)
            if held_out and evaluate_every_epoch and step % steps_per_epoch == 0:
                train_loss = torch.stack(losses).sum().item() / seen
                train_seconds += time.perf_counter() - began
                evaluation = evaluate(model, *held_out)
                history.append(
                    {
                        "step": step,
                        "epoch": epoch + 1,
                        "test_accuracy": evaluation.accuracy,
                        "test_loss": evaluation.loss,
                        "train_loss": train_loss,
                    }
                )
                began = time.perf_counter()
        train_seconds += time.perf_counter() - began
        if held_out and evaluation is None:
            evaluation = evaluate(model, *held_out)
    optimizer.zero_grad()
    model.train(was_training)
    _move_(model, device, torch.contiguous_format)
    checkpoint = Checkpoint.capture(model, step=step, momentum=momentum if step else None)
    finite = all(bool(tensor.isfinite().all()) for tensor in checkpoint.model.values())
    return Trained(
        checkpoint=checkpoint,
        test_accuracy=evaluation.accuracy if evaluation else math.nan,
        test_loss=evaluation.loss if evaluation else math.nan,
        train_seconds=train_seconds,
        diverged=diverged or not finite or (evaluation is not None and not math.isfinite(evaluation.loss)),
        history=history,
    )


def _layout(model: nn.Module) -> torch.memory_format:
    """channels_last for convolutions of images: with one thread on a CPU they run a quarter faster."""
    images = any(parameter.ndim == 4 for parameter in model.parameters())
    return torch.channels_last if images else torch.contiguous_format


def _move_(model: nn.Module, device: str | torch.device, layout: torch.memory_format) -> None:
    model.to(device=device, memory_format=layout)  # pyright: ignore[reportCallIssue]  # torch's stubs lack it


def _restore(model: nn.Module, start: Checkpoint) -> None:
    try:
        model.load_state_dict(start.model)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint is of another model: {error}") from error


def _kept_bits(parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each masked parameter, in its layout, the integer whose bits are all 1 where a weight is kept, else 0."""
    kept_bits: dict[str, Tensor] = {}
    for name, mask in masks.items():
        if name not in parameters:
            raise ValueError(f"the masks are of another model: {unknown('parameter', name, parameters)}")
        parameter = parameters[name]
        if mask.dtype != torch.bool or mask.shape != parameter.shape:
            raise ValueError(
                f"the mask of {name} must be boolean of shape {tuple(parameter.shape)}, "
                f"not {mask.dtype} of shape {tuple(mask.shape)}"
            )
        integer = _INTEGERS[parameter.element_size()]
        kept_bits[name] = torch.empty_like(parameter, dtype=integer).copy_(mask).neg_()
    return kept_bits


def _keep_(values: Tensor, bits: Tensor) -> None:
    """Set pruned positions to 0, whatever they hold: infinity times 0 would not be a number.

    On a CPU this takes a tenth of the time of `masked_fill_`.
    """
    values.view(bits.dtype).bitwise_and_(bits)


def _momentum(parameters: Mapping[str, nn.Parameter], start: Checkpoint | None) -> dict[str, Tensor]:
    """Momentum buffers in their parameters' layout: those of the checkpoint, or zeros at step 0."""
    momentum = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    if start and start.step:
        for name, buffer in momentum.items():
            stored = start.momentum.get(name)
            if stored is None or stored.shape != buffer.shape:
                raise ValueError(f"the checkpoint of step {start.step} holds no momentum that fits {name}")
            buffer.copy_(stored)
    return momentum

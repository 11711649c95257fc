"""The learning rate as a function of the step."""

import math
from bisect import bisect_right

from prunemark.recipes import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of one optimizer step, counted from 0.

    lr(step) = f(step) * min(1, step / warm-up steps), where an epoch e of the recipe is step
    round(e * steps_per_epoch). The first step of a warm-up has learning rate 0, as in the code that the paper's authors
    published. f is, by the recipe's schedule,

    - steps: lr / drop_factor^(number of drops at or before the step);
    - cosine: final_lr + (lr - final_lr) * (1 + cos(pi * p)) / 2;
    - linear: final_lr + (lr - final_lr) * (1 - p);
    - constant: lr,

    with p = (step - warm-up steps) / (all steps - warm-up steps), 0 during the warm-up.
    """
    warmup_steps = round(recipe.warmup_epochs * steps_per_epoch)
    warmth = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    if recipe.schedule in ("cosine", "linear"):
        falling_steps = recipe.epochs * steps_per_epoch - warmup_steps
        progress = max(0, step - warmup_steps) / falling_steps if falling_steps else 0.0
        left = (1 + math.cos(math.pi * progress)) / 2 if recipe.schedule == "cosine" else 1 - progress
        return warmth * (recipe.final_lr + (recipe.lr - recipe.final_lr) * left)
    drop_steps = [round(drop * steps_per_epoch) for drop in recipe.drops]
    return recipe.lr * warmth / recipe.drop_factor ** bisect_right(drop_steps, step)

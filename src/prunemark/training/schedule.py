"""The learning rate as a function of the step."""

from bisect import bisect_right

from prunemark.recipes import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of one optimizer step, counted from 0.

    lr(step) = lr * min(1, step / warm-up steps) / 10^(number of drops at or before the step), where an epoch e of
    the recipe is step round(e * steps_per_epoch). The first step of a warm-up has learning rate 0, as in the
    code that the paper's authors published.
    """
    warmup_steps = round(recipe.warmup_epochs * steps_per_epoch)
    warmth = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    drop_steps = [round(drop * steps_per_epoch) for drop in recipe.drops]
    return recipe.lr * warmth / 10 ** bisect_right(drop_steps, step)

"""A whole training on a data set: what `prunemark.train` is."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prunemark.datasets import Dataset
from prunemark.masks import Masks
from prunemark.models.holding import holds_on
from prunemark.models.precision import true_float32
from prunemark.models.prunable import device_of, masked_parameters, parameters_by_name
from prunemark.recipes import DEFAULT, RECIPES, Recipe
from prunemark.registry import unknown
from prunemark.training import loop
from prunemark.training.loop import OnEpoch, Trained


def train(
    model: nn.Module,
    data: Dataset,
    recipe: str | Recipe | None = None,
    *,
    masks: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    engine: str = "dense",
    device: str | torch.device | None = None,
    curve: bool = True,
    on_epoch: OnEpoch | None = None,
    tf32: bool = False,
) -> Trained:
    """Train a model in place with a recipe's whole schedule, and evaluate it on the test set.

    Optimizer, schedule, loss and augmentation are the recipe's: by default SGD with momentum, learning-rate drops and
    cross-entropy. Pruned weights are exactly 0 from before the first step to the end. Equal arguments give equal
    results, bit for bit on a CPU; what the model itself draws (dropout) comes from the seed, too.

    Args:
        model: maps (N, C, H, W) to logits (N, classes).
        data: a data set, from `prunemark.dataset` or your own.
        recipe: the name of a network, for its recipe on this data set; a `Recipe`; or None for `DEFAULT`: 160 epochs,
            batch 128, learning rate 0.1, which is divided by 10 after epochs 80 and 120.
        masks: which weights to keep; None trains the dense model.
        seed: names the order of the examples and the augmentations.
        engine: what takes the steps: a name in `prunemark.training.engines.ENGINES`, or "auto": "sparse" where its
            kernels are installed, it can train the model, and few weights are kept; else "dense". Their numbers differ
            by the rounding of their sums.
        device: where to train; None = where the model is. The model stays there.
        curve: evaluate after each epoch, for `Trained.history` and `Trained.curve`. It changes no other number.
        on_epoch: called as on_epoch(record, checkpoint) after each epoch: its line of the history, and a function that
            returns a copy of the state of training at that moment, a `Checkpoint`.

        tf32: let a GPU compute convolutions and products of float32 in TF32, whatever the process has set.

    Returns:
        The final checkpoint, test accuracy and loss, the curve, and whether training diverged.

    Raises:
        ValueError: a name that has no recipe for this data set; masks of another model; an unknown engine; a precision
            of the recipe that the device lacks; a hold in force that prunes what these masks keep.

    Examples:
        >>> data = pm.dataset("digits")
        >>> model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=data.classes, seed=0)
        >>> masks = pm.prune(model, "snip", sparsity=0.9, data=data)
        >>> trained = pm.train(model, data, pm.Recipe(epochs=2), masks=masks)
        >>> masks.verify(model)
        >>> len(trained.curve)
        2
    """
    if not isinstance(data, Dataset):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"train takes a data set, such as prunemark.dataset(...) returns, not {type(data).__name__}")
    recipe = _recipe(recipe, data.name)
    kept = None
    if masks is not None:
        kept = Masks(masks)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        # By the names that the model has now: compiled or wrapped ones have prefixes.
        masks = {names[id(weight)]: kept[name] for name, weight in masked_parameters(model, kept).items()}
    _require_free(model, kept)
    with true_float32(tf32=tf32):
        trained = loop.train(
            model,
            data.train,
            recipe,
            seed=seed,
            masks=masks,
            test=data.test,
            evaluate_every_epoch=curve,
            on_epoch=on_epoch,
            engine=engine,
            device=device_of(model) if device is None else device,
        )
    if kept is not None:
        kept.verify(model)
    return trained


def _require_free(model: nn.Module, masks: Masks | None) -> None:
    """Raise ValueError if a hold (see `Masks.hold`) would prune what is to be trained."""
    weights = parameters_by_name(model)
    kept = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    if masks is not None:
        by_id = {id(weight): masks[name] for name, weight in masked_parameters(model, masks).items()}
        kept |= {name: by_id[id(weight)] for name, weight in weights.items() if id(weight) in by_id}
    for hold, shared in holds_on(weights):
        if count := hold.zeros_among(shared, kept):
            what = "the whole model" if masks is None else "the weights that these masks keep"
            raise ValueError(
                f"a hold in force on this model prunes {count:,} of {what}: end it (pm.release(model)) and load their "
                "values again, or train with its masks"
            )


def _recipe(recipe: str | Recipe | None, dataset: str) -> Recipe:
    if recipe is None:
        return DEFAULT
    if isinstance(recipe, Recipe):
        return recipe
    if (recipe, dataset) in RECIPES:
        return RECIPES[recipe, dataset]
    datasets = sorted(data for network, data in RECIPES if network == recipe)
    if not datasets:
        raise ValueError(unknown("recipe", recipe, {network for network, _ in RECIPES}))
    raise ValueError(
        f"{recipe} has no recipe for {dataset}, only for {', '.join(datasets)}; give a Recipe, or None for the default"
    )

"""Recipes: hyperparameters of training as data. Nothing here imports torch."""

from prunemark.recipes.augmentations import AUGMENTATIONS
from prunemark.recipes.optimizers import OPTIMIZERS
from prunemark.recipes.recipe import LOSSES, PRECISIONS, SCHEDULES, Recipe
from prunemark.recipes.table import DEFAULT, RECIPES, REPLICATES, recipe_for

__all__ = [
    "AUGMENTATIONS",
    "DEFAULT",
    "LOSSES",
    "OPTIMIZERS",
    "PRECISIONS",
    "RECIPES",
    "REPLICATES",
    "SCHEDULES",
    "Recipe",
    "recipe_for",
]

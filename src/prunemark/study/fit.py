"""Problems between the fields of a study, found in the fields as given, so that one hides no other. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from prunemark.datasets import DATASETS, DatasetEntry, entry_for, form_of, short_dataset
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.own_code import is_own_code
from prunemark.recipes import Recipe
from prunemark.stats.claims import ALL
from prunemark.study.method_spec import MethodSpec, default_label
from prunemark.terms.benchmarks import BENCHMARKS
from prunemark.terms.metrics import metric_of
from prunemark.terms.sparsity import same_sparsity
from prunemark.terms.tasks import TASKS

_ROWS = ("dense", "random", *BENCHMARKS, *ALL.values())
"""What the results call rows that are no method's."""


def misfits(fields: Mapping[str, Any]) -> list[str]:
    """Problem of a network and a data set that do not fit each other, if there is one."""
    network, dataset = fields.get("network"), fields.get("dataset")
    if not isinstance(network, str) or not isinstance(dataset, str) or not (dataset in DATASETS or form_of(dataset)):
        return []
    try:
        problem = network_problem(network, dataset, {})
    except ValueError:
        # Data that cannot be read are a problem of their own.
        return []
    return [f"dataset: {problem}"] if problem else []


def repetitions(fields: Mapping[str, Any]) -> list[str]:
    """Problems of items that are listed twice, and of labels that two methods would share."""
    problems: list[str] = []
    for name in ("benchmarks", "ablations", "sparsities"):
        items: Any = fields.get(name)
        if isinstance(items, Mapping):
            items = items.get("levels")
        if isinstance(items, list | tuple):
            problems += _repeated(name, items)
    methods: Any = fields.get("methods")
    if isinstance(methods, list | tuple):
        given = [_name_and_label(method) for method in methods]
        labels = [label if label else i for i, (_, label) in enumerate(given)]
        for i, j in equal_items(labels):
            hint = 'give it a label of its own: { name = "...", label = "..." }'
            problems.append(f'methods[{j}]: label "{labels[j]}" is already that of methods[{i}]; {hint}')
        for i, (name, label) in enumerate(given):
            meant = label if label != name and label in METHODS else _row(label)
            if meant and not label == name == "random":
                also = "" if meant == label else f' (it reads as "{meant}")'
                problems.append(
                    f'methods[{i}]: label "{label}" means something else in the results{also}; choose another'
                )
    return problems


def _repeated(name: str, items: Sequence[Any]) -> list[str]:
    """Problems of items that are listed twice; of sparsities, also of those that the results cannot tell apart."""
    known = [same_sparsity(item) if isinstance(item, float) else item for item in items]
    return [
        f"{name}[{j}]: {items[j]!r} is already there" + ("" if items[i] == items[j] else f", as {items[i]!r}")
        for i, j in equal_items(known)
    ]


def _row(label: str) -> str:
    """The row of the results that a label is, or is but for case, blanks and punctuation; empty if there is none."""
    return next((row for row in _ROWS if _letters(row) == _letters(label)), "")


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def network_problem(network: str, dataset: str, options: dict[str, Any]) -> str:
    """Reason why a network cannot be built for a data set; empty if it can, or if only the user's own code can tell."""
    if network not in NETWORKS:
        return ""
    try:
        entry, data = NETWORKS[network], entry_for(dataset)
    except ValueError:
        return ""  # an entry of another package that cannot be used, as the field itself says
    if len(data.input_shape) != 3 or data.task in ("segmentation", "next-token"):
        shape = " x ".join(map(str, data.input_shape))
        return (
            f"{network}: takes images to one output per class or value, and {short_dataset(dataset)} holds "
            f"examples of {shape} for {data.task}: a network of your own is FILE.py:build"
        )
    try:
        entry.check(data.input_shape, data.classes, options)
    except ValueError as error:
        return f"{network}: {error}"
    return ""


def recipe_problems(recipe: Recipe, data: DatasetEntry) -> list[str]:
    """Problems of a recipe with the task and the inputs of a data set."""
    problems: list[str] = []
    fitting = TASKS[data.task].losses
    if recipe.loss not in fitting and not is_own_code(recipe.loss):
        problems.append(
            f'the loss "{recipe.loss}" does not fit {data.task}; fitting: {", ".join(fitting)}, or FILE.py:loss'
        )
    images = len(data.input_shape) == 3 and not data.tokens and data.task != "segmentation"
    if recipe.augment and not images:
        problems.append(f"augment changes images with a class or values each, and these are examples for {data.task}")
    if recipe.mixup and data.tokens:
        problems.append("mixup mixes numbers, and tokens are none")
    return problems


def unstated_margin(fields: Mapping[str, Any]) -> list[str]:
    """Problem of a study that does not say which difference counts as none in the unit of its metric."""
    dataset = fields.get("dataset")
    if "margin" in fields or not isinstance(dataset, str) or not (dataset in DATASETS or form_of(dataset)):
        return []
    try:
        metric = metric_of(fields.get("metric"), task=entry_for(dataset).task)
    except ValueError:
        return []
    if metric.name == "accuracy":
        return []
    return [f"margin: say which difference of the {metric.noun}, in {metric.unit}, counts as none: margin = ..."]


def equal_items(items: Sequence[Any]) -> list[tuple[int, int]]:
    """Pairs of positions (first, later) of equal items."""
    return [(items.index(item), i) for i, item in enumerate(items) if items.index(item) < i]


def _name_and_label(method: Any) -> tuple[str, str]:
    match method:
        case MethodSpec():
            return method.name, method.label
        case {"name": str(name), "label": str(label)}:
            return name, label
        case {"name": str(name)} | str(name):
            return name, default_label(name)
        case _:
            return "", ""

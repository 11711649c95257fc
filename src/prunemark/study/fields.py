"""Types of a study's fields (names, steps, sparsities, options), each with its check. No torch."""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictFloat,
    StrictStr,
    ValidationInfo,
)

from prunemark.datasets import NORMALISATIONS, entry_for
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.own_code import OwnCode, is_own_code
from prunemark.recipes import Recipe, recipe_for
from prunemark.registry import unknown
from prunemark.study.key import canonical
from prunemark.study.problems import fail
from prunemark.terms.ablations import chosen_ablations
from prunemark.terms.benchmarks import parse as parse_benchmark
from prunemark.terms.quotas import QUOTAS, QuotaName
from prunemark.terms.sparsity import level
from prunemark.terms.steps import Step
from prunemark.terms.text import label_problem

# Those of prunemark.pruning.scorer.ScoreDtype, which cannot be imported without torch.
SCORE_DTYPES = ("float32", "float64")
# It is part of names of files.
_LONGEST_NAME = 150
# The fields on which the length of training depends.
SCHEDULE = {"network", "dataset", "recipe"}
CHECKED = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def base_recipe(network: str, dataset: str) -> Recipe:
    """The recipe that a study's overrides change.

    Raises:
        ValueError: a data set of the user's that cannot be read.
    """
    return recipe_for(network, dataset, entry_for(dataset).task)


def step_in(fields: Mapping[str, Any], step: Step) -> int:
    """The optimizer step that `step` is in the training of a study with these fields.

    Raises:
        ValueError: it is after the end of training, or the overrides of the recipe are wrong.
    """
    recipe = base_recipe(fields["network"], fields["dataset"]).override(fields["recipe"])
    per_epoch = recipe.steps_per_epoch(entry_for(fields["dataset"]).train_examples)
    return step.at(steps_per_epoch=per_epoch, total_steps=recipe.epochs * per_epoch)


def _table_or_file(table: Mapping[str, Any], kind: str, name: str) -> str:
    """A known name, or an absolute "FILE.py:attribute" whose file has that attribute."""
    if not is_own_code(name):
        if name not in table:
            raise fail(unknown(kind, name, table))
        entry_in(table, name)
        return name
    # Read, not imported: checking a study runs no code of the user's and needs no torch.
    try:
        return OwnCode.find(name).check().reference
    except ValueError as error:
        raise fail(str(error)) from None


def entry_in(table: Mapping[str, Any], name: str) -> Any:
    """The entry of a known name, which may fail to load or be offered twice if it is of another package."""
    try:
        return table[name]
    except ValueError as error:
        raise fail(str(error)) from None


def step_text(text: str, info: ValidationInfo) -> str:
    """A step that can be read and, where the fields above say how long training is, is within it."""
    try:
        step = Step.parse(text)
        if info.data.keys() >= SCHEDULE:
            step_in(info.data, step)
    except ValueError as error:
        raise fail(str(error)) from None
    return text


def _benchmark(text: str, info: ValidationInfo) -> str:
    """A benchmark that is known, with a step of its own within training."""
    try:
        _, step = parse_benchmark(text)
    except ValueError as error:
        raise fail(str(error)) from None
    return f"{text.removesuffix(step)}{step_text(step, info)}" if step else text


def _json(options: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical(options)
    except ValueError as error:
        raise fail(str(error)) from None
    return options


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise fail(f"is made of letters, digits and _ . -, and begins with a letter or digit; got {name!r}")
    if len(name) > _LONGEST_NAME:
        raise fail(f"has {len(name):,} characters; at most {_LONGEST_NAME} are allowed")
    return name


def _label(text: str) -> str:
    if problem := label_problem(text):
        raise fail(problem)
    return text


def _sparsity(value: float) -> float:
    if not 0 <= value < 1:
        raise fail(f"sparsity is the pruned fraction, in [0, 1), not {value}")
    return float(value)


def _levels(value: Any) -> Any:
    """{levels = [0, 5]} as sparsities 1 - 0.8^k, to 12 decimals."""
    if not isinstance(value, Mapping):
        return value
    levels: Any = value.get("levels")
    if set(value) != {"levels"} or not isinstance(levels, list | tuple):
        raise fail("must be a list such as [0.8, 0.95], or { levels = [0, 5, 10] } for 1 - 0.8^k")
    wrong: list[Any] = [k for k in levels if type(k) is not int or k < 0]
    if wrong:
        raise fail(f"levels count rounds of 20 %: whole numbers from 0, not {wrong[0]!r}")
    return [level(k) for k in levels]


def _quotas(value: Any) -> Any:
    """A rule's name, or sparsities by pattern for layers' names."""
    match value:
        case None:
            return None
        case str():
            if value not in QUOTAS:
                raise fail(f'{unknown("quota rule", value, QUOTAS)}; or sparsities by layer: {{ "stages.2.*" = 0.95 }}')
            return value
        case Mapping() if value:
            wrong = [
                f'"{pattern}": sparsity is the pruned fraction, in [0, 1), not {one!r}'
                for pattern, one in value.items()
                if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < 1
            ]
            if wrong:
                raise fail(*wrong)
            return {str(pattern): float(one) for pattern, one in value.items()}
        case _:
            raise fail(f'is a name ({", ".join(QUOTAS)}) or a table such as {{ "stages.2.*" = 0.95 }}, not {value!r}')


def _one_of(table: Collection[str], kind: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in table:
            raise fail(unknown(kind, name, table))
        return name

    return AfterValidator(check)


def _ablation(name: str) -> str:
    if name not in chosen_ablations():
        raise fail(unknown("ablation", name, chosen_ablations()))
    return name


Name = Annotated[StrictStr, AfterValidator(_plain_name)]
NetworkName = Annotated[StrictStr, AfterValidator(lambda name: _table_or_file(NETWORKS, "network", name))]
MethodName = Annotated[StrictStr, AfterValidator(lambda name: _table_or_file(METHODS, "method", name))]
BenchmarkName = Annotated[StrictStr, AfterValidator(_benchmark)]
AblationName = Annotated[StrictStr, AfterValidator(_ablation)]
Label = Annotated[StrictStr, AfterValidator(_label)]
QuotaRule = Annotated[QuotaName | dict[str, float] | None, PlainValidator(_quotas)]
Options = Annotated[dict[str, Any], AfterValidator(_json)]
Sparsities = Annotated[
    tuple[Annotated[StrictFloat, AfterValidator(_sparsity)], ...], BeforeValidator(_levels), Field(min_length=1)
]
StepText = Annotated[StrictStr, AfterValidator(step_text)]
Retrain = Annotated[StrictStr, _one_of(("whole", "rest"), "way of retraining")]
Normalisation = Annotated[StrictStr, _one_of(NORMALISATIONS, "normalisation")]
ScoreDtype = Annotated[StrictStr, _one_of(SCORE_DTYPES, "score_dtype")]

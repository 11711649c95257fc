"""`Study`: what to run, as a file or in Python, checked before anything runs."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from prunemark.datasets import DATASETS, NORMALISATIONS, DatasetEntry, entry_for, split_scheme
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.own_code import OwnCode, is_own_code
from prunemark.recipes import Recipe, recipe_for
from prunemark.registry import unknown
from prunemark.study.files import read
from prunemark.study.key import canonical
from prunemark.study.problems import StudyError, fail, sentences
from prunemark.study.replicates import Replicates, sizes
from prunemark.terms.ablations import chosen_ablations
from prunemark.terms.benchmarks import parse as parse_benchmark
from prunemark.terms.looks import Looks
from prunemark.terms.margins import DEFAULT_MARGIN
from prunemark.terms.quotas import QUOTAS
from prunemark.terms.scoring import SCORING_BATCH
from prunemark.terms.sparsity import level
from prunemark.terms.steps import Step
from prunemark.terms.text import label_problem

# Those of prunemark.pruning.scorer.ScoreDtype, which cannot be imported without torch.
SCORE_DTYPES = ("float32", "float64")
# It is part of names of files.
_LONGEST_NAME = 150


def _table_or_file(table: Mapping[str, Any], kind: str, name: str) -> str:
    """A known name, or an absolute "FILE.py:attribute" whose file has that attribute."""
    if not is_own_code(name):
        if name not in table:
            raise fail(unknown(kind, name, table))
        return name
    # Read, not imported: checking a study runs no code of the user's and needs no torch.
    try:
        return OwnCode.find(name).check().reference
    except ValueError as error:
        raise fail(str(error)) from None


def _step(text: str, info: ValidationInfo) -> str:
    """A step that can be read and, where the fields above say how long training is, is within it."""
    try:
        step = Step.parse(text)
        if info.data.keys() >= _SCHEDULE:
            _step_in(info.data, step)
    except ValueError as error:
        raise fail(str(error)) from None
    return text


def _benchmark(text: str, info: ValidationInfo) -> str:
    """A benchmark that is known, with a step of its own within training."""
    try:
        _, step = parse_benchmark(text)
    except ValueError as error:
        raise fail(str(error)) from None
    return f"{text.removesuffix(step)}{_step(step, info)}" if step else text


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


# The fields that say how long training is.
_SCHEDULE = {"network", "dataset", "recipe"}
Options = Annotated[dict[str, Any], AfterValidator(_json)]
_SPEC = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class MethodSpec(BaseModel):
    """One method of a study.

    Attributes:
        name: a name in METHODS, or "FILE.py:function" for one's own (one round unless `rounds` says otherwise).
        rounds: in how many rounds to prune; None = the method's own number.
        quotas: None ranks the weights of all layers together; "uniform", "uniform-plus", "erk" or "igq" fix how many
            each layer keeps, see `prunemark.pruning.quotas.quotas`.
        label: its name in the results, printable and of at most 60 characters; by default the method's or the
            function's name.
        options: the method's own, such as {bn = "eval"}.
    """

    model_config = _SPEC

    name: Annotated[StrictStr, AfterValidator(lambda name: _table_or_file(METHODS, "method", name))]
    rounds: Annotated[StrictInt, Field(ge=1)] | None = None
    quotas: Annotated[StrictStr, _one_of(QUOTAS, "quota rule")] | None = None
    label: Annotated[StrictStr, AfterValidator(_label)] = ""
    options: Options = {}

    @model_validator(mode="before")
    @classmethod
    def _labelled(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, Mapping) and not data.get("label") and isinstance(data.get("name"), str):
            return {**data, "label": _default_label(data["name"])}
        return data

    @property
    def entry_rounds(self) -> int:
        """In how many rounds it prunes."""
        if self.rounds is not None:
            return self.rounds
        return METHODS[self.name].rounds if self.name in METHODS else 1

    @property
    def own_precision(self) -> bool:
        """True if its scores do not depend on the precision of the network; not known of a user's own method."""
        return self.name in METHODS and METHODS[self.name].own_precision

    @property
    def needs_data(self) -> bool:
        """True if its scores depend on examples; assumed of a user's own method."""
        return METHODS[self.name].needs_data if self.name in METHODS else True


class Study(BaseModel):
    """A study: which methods, ablations and benchmarks to compare, on what, at which sparsities.

    Every field is checked, against the others too, and all problems are reported at once.

    Attributes:
        name: its name in the results.
        network: a name in NETWORKS, or "FILE.py:build", called as build(input_shape=, classes=, **network_options).
        dataset: a name in DATASETS, or "hub:OWNER/NAME".
        methods: what prunes at `prune_at`.
        depends_on: files and folders that the files of one's own read; a change of one runs their jobs again. What
            they import is found without being named here.
        benchmarks: what prunes at the end of training: names in `prunemark.terms.benchmarks.BENCHMARKS`. One that
            rewinds does so to `rewind_to`, or to a step of its own: "lottery-rewinding:2ep".
        ablations: names in `prunemark.terms.ablations.ABLATIONS`; the unmodified run is always there.
        sparsities: pruned fractions in [0, 1), or {"levels": [0, 5, 10]} for 1 - 0.8^k.
        replicates: how many sets of seeds; fewer than 3 give no verdict. Or {"min": 3, "max": 20, "until": "claims"}:
            as many as it takes until all claims (or "cells") are settled, decided at looks on the way.
        recipe: overrides of the network's own recipe, see `prunemark.recipes.Recipe`.
        prune_at: the steps of dense training at which methods prune: "0ep" (initialisation), "1000it", "10ep", "end".
        score_at, weights_at: the steps from which methods take their masks and the subnetworks their weights, in place
            of `prune_at`; the results' prune_at is then the later of the two.
        retrain: "whole" (every subnetwork trains the whole schedule) or "rest" (it trains, without momentum at first,
            what is left of the schedule after the step that its weights are from; those pruned after training train
            the whole).
        rewind_to: the step that benchmarks rewind to; None = the recipe's.
        examples_per_class: how many training examples of each class data-driven scores use.
        scoring_batch: how many of them are scored at a time. The paper's code takes as many as in training.
        normalise: "own" or "paper", see `prunemark.datasets.NORMALISATIONS`.
        score_dtype: "float32" or "float64", the precision of scores; None = the network's own in one round, float64 in
            more, see `prunemark.prune`.
        tf32: let a GPU compute convolutions and products of float32 in TF32, in training and scoring.
        seed: names all randomness of the study.
        margin: difference that counts as none, in percentage points of accuracy.
        curves: evaluate after each epoch and store the learning curves. It changes no other number, so trainings that
            were stored without a curve are not run again.

    Raises:
        StudyError: something is wrong with it.
    """

    model_config = _SPEC

    name: Annotated[StrictStr, AfterValidator(_plain_name)]
    description: StrictStr = ""
    network: Annotated[StrictStr, AfterValidator(lambda name: _table_or_file(NETWORKS, "network", name))]
    dataset: StrictStr
    network_options: Options = {}
    recipe: dict[str, Any] = {}
    methods: tuple[MethodSpec, ...]
    depends_on: tuple[StrictStr, ...] = ()
    benchmarks: tuple[Annotated[StrictStr, AfterValidator(_benchmark)], ...] = ()
    ablations: tuple[Annotated[StrictStr, AfterValidator(_ablation)], ...] = ()
    sparsities: Annotated[
        tuple[Annotated[StrictFloat, AfterValidator(_sparsity)], ...], BeforeValidator(_levels), Field(min_length=1)
    ]
    replicates: Replicates = 3
    prune_at: Annotated[tuple[Annotated[StrictStr, AfterValidator(_step)], ...], Field(min_length=1)] = ("0ep",)
    score_at: Annotated[StrictStr, AfterValidator(_step)] | None = None
    weights_at: Annotated[StrictStr, AfterValidator(_step)] | None = None
    retrain: Annotated[StrictStr, _one_of(("whole", "rest"), "way of retraining")] = "whole"
    rewind_to: Annotated[StrictStr, AfterValidator(_step)] | None = None
    examples_per_class: Annotated[StrictInt, Field(ge=1)] = 10
    scoring_batch: Annotated[StrictInt, Field(ge=1)] = SCORING_BATCH
    normalise: Annotated[StrictStr, _one_of(NORMALISATIONS, "normalisation")] = "own"
    score_dtype: Annotated[StrictStr, _one_of(SCORE_DTYPES, "score_dtype")] | None = None
    tf32: StrictBool = False
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    margin: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = DEFAULT_MARGIN
    curves: StrictBool = True

    def __init__(self, /, **fields: Any) -> None:
        repeated = [f"Study: {problem}" for problem in (*_misfit(fields), *_repeated(fields))]
        try:
            super().__init__(**fields)
        except ValidationError as error:
            known = {"": Study.model_fields, "methods": MethodSpec.model_fields}
            raise StudyError([*sentences(error, "Study", known), *repeated]) from None
        if repeated:
            raise StudyError(repeated)

    @classmethod
    def load(cls, study: str | Path) -> Self:
        """Read a study from a file or by a shipped name, see `prunemark.study.files.read`.

        Raises:
            StudyError: no such study, TOML that cannot be read, or problems with its content: all of them.
        """
        fields, origin = read(study)
        try:
            return cls(**fields)
        except StudyError as error:
            raise StudyError(f"{origin}{line.removeprefix('Study')}" for line in error.problems) from None

    # A validator sees, in info.data, the fields above its own that are right. So each check between fields
    # runs as soon as what it needs is right, and one problem hides no other.

    @field_validator("dataset")
    @classmethod
    def _dataset_fits(cls, name: str, info: ValidationInfo) -> str:
        if split_scheme(name)[0]:
            try:
                entry_for(name)
            except ValueError as error:
                raise fail(str(error)) from None
        elif name not in DATASETS:
            raise fail(unknown("dataset", name, DATASETS))
        return name

    @field_validator("depends_on")
    @classmethod
    def _is_there(cls, declared: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        paths = [Path(each).expanduser().resolve() for each in declared]
        if missing := [path for path in paths if not path.exists()]:
            raise fail(*(f"there is no file or folder {path}" for path in missing))
        if declared and {"network", "methods"} <= info.data.keys():
            names = (info.data["network"], *(method.name for method in info.data["methods"]))
            if not any(map(is_own_code, names)):
                raise fail("names what files of your own read, but the study names no FILE.py")
        return tuple(map(str, paths))

    @field_validator("network_options")
    @classmethod
    def _options_fit(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        network, dataset = info.data.get("network", ""), info.data.get("dataset")
        # Where they do not fit each other whatever the options, that is said already.
        if (
            dataset
            and not _network_problem(network, dataset, {})
            and (problem := _network_problem(network, dataset, options))
        ):
            raise fail(problem)
        return options

    @field_validator("recipe")
    @classmethod
    def _recipe_is_one(cls, changes: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(Recipe)]
        try:
            if {"network", "dataset"} <= info.data.keys():
                recipe_for(info.data["network"], info.data["dataset"]).override(changes)
            elif strangers := [name for name in changes if name not in names]:
                raise fail(*(unknown("recipe field", name, names) for name in strangers))
        except ValueError as error:
            raise fail(str(error)) from None
        return changes

    @field_validator("prune_at")
    @classmethod
    def _steps_differ(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.keys() >= _SCHEDULE:
            steps = [_step_in(info.data, Step.parse(text)) for text in texts]
            if repeats := _repeats(steps):
                raise fail(*(f'[{j}]: "{texts[j]}" is the same step as "{texts[i]}"' for i, j in repeats))
        return texts

    @field_validator("weights_at")
    @classmethod
    def _a_sweep_is_left(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text and info.data.get("score_at") and len(info.data.get("prune_at", ())) > 1:
            raise fail("with score_at and weights_at both given, prune_at has nothing to say: leave it out")
        return text

    @field_validator("rewind_to")
    @classmethod
    def _rewinding_lies_within(cls, text: str | None, info: ValidationInfo) -> str | None:
        rewinding = any(
            benchmark.rewinds and not step for benchmark, step in map(parse_benchmark, info.data.get("benchmarks", ()))
        )
        if text is None and rewinding and info.data.keys() >= _SCHEDULE:
            recipe = recipe_for(info.data["network"], info.data["dataset"]).override(info.data["recipe"])
            _step(str(recipe.rewind_to), info)
        return text

    @field_validator("examples_per_class")
    @classmethod
    def _examples_suffice(cls, count: int, info: ValidationInfo) -> int:
        if "dataset" in info.data:
            entry = entry_for(info.data["dataset"])
            most = entry.train_examples // entry.classes
            if count > most:
                given = f"{entry.train_examples:,} training examples of {entry.classes} classes"
                raise fail(f"{given} give {most} a class at most, not {count}")
        return count

    @field_validator("normalise")
    @classmethod
    def _normalisation_is_known(cls, normalise: str, info: ValidationInfo) -> str:
        if normalise != "own" and "dataset" in info.data:
            try:
                entry_for(info.data["dataset"]).check(normalise)
            except ValueError as error:
                raise fail(str(error)) from None
        return normalise

    @property
    def own_code(self) -> tuple[str, ...]:
        """The "FILE.py:attribute" of its network and methods, each once."""
        names = (self.network, *(method.name for method in self.methods))
        return tuple(dict.fromkeys(name for name in names if is_own_code(name)))

    @property
    def looks(self) -> Looks | None:
        """When it looks at its results to decide on further replicates; None where their number is fixed."""
        return self.replicates if isinstance(self.replicates, Looks) else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of replicates at which it may end, ascending."""
        return sizes(self.replicates)

    @property
    def full_recipe(self) -> Recipe:
        """The network's own recipe for the data set, with this study's overrides."""
        return recipe_for(self.network, self.dataset).override(self.recipe)

    @property
    def rewind_step(self) -> str:
        """The step that benchmarks rewind to unless they name their own, as text."""
        return self.rewind_to or str(self.full_recipe.rewind_to)

    @property
    def data(self) -> DatasetEntry:
        """The data set's line in DATASETS."""
        return entry_for(self.dataset)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return self.full_recipe.steps_per_epoch(self.data.train_examples)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of one training."""
        return self.full_recipe.epochs * self.steps_per_epoch

    def step(self, text: str) -> int:
        """The optimizer step that a text such as "10ep" means here."""
        return Step.parse(text).at(steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)


def _misfit(fields: Mapping[str, Any]) -> list[str]:
    """A network and a data set that do not fit each other. Of the fields as given, so that this hides no problem."""
    network, dataset = fields.get("network"), fields.get("dataset")
    if not isinstance(network, str) or not isinstance(dataset, str) or dataset not in DATASETS:
        return []
    problem = _network_problem(network, dataset, {})
    return [f"dataset: {problem}"] if problem else []


def _repeated(fields: Mapping[str, Any]) -> list[str]:
    """Items that are there twice. Of the fields as given, so that another problem does not hide these."""
    problems: list[str] = []
    for name in ("benchmarks", "ablations", "sparsities"):
        items: Any = fields.get(name)
        if isinstance(items, Mapping):
            items = items.get("levels")
        if isinstance(items, list | tuple):
            problems += [f"{name}[{j}]: {items[j]!r} is already there" for _, j in _repeats(items)]
    methods: Any = fields.get("methods")
    if isinstance(methods, list | tuple):
        given = [_name_and_label(method) for method in methods]
        labels = [label if label else i for i, (_, label) in enumerate(given)]
        for i, j in _repeats(labels):
            hint = 'give it a label of its own: { name = "...", label = "..." }'
            problems.append(f'methods[{j}]: label "{labels[j]}" is already that of methods[{i}]; {hint}')
        for i, (name, label) in enumerate(given):
            if label != name and label in ("dense", *METHODS):
                problems.append(f'methods[{i}]: label "{label}" means something else in the results; choose another')
    return problems


def _name_and_label(method: Any) -> tuple[str, str]:
    match method:
        case MethodSpec():
            return method.name, method.label
        case {"name": str(name), "label": str(label)}:
            return name, label
        case {"name": str(name)} | str(name):
            return name, _default_label(name)
        case _:
            return "", ""


def _default_label(name: str) -> str:
    return name.rpartition(":")[2] if is_own_code(name) else name


def _network_problem(network: str, dataset: str, options: dict[str, Any]) -> str:
    """Reason why a network cannot be built for a data set; empty if it can, or if only the user's own code can tell."""
    if network in NETWORKS:
        data = entry_for(dataset)
        try:
            NETWORKS[network].check(data.input_shape, data.classes, options)
        except ValueError as error:
            return f"{network}: {error}"
    return ""


def _step_in(fields: Mapping[str, Any], step: Step) -> int:
    recipe = recipe_for(fields["network"], fields["dataset"]).override(fields["recipe"])
    per_epoch = recipe.steps_per_epoch(entry_for(fields["dataset"]).train_examples)
    return step.at(steps_per_epoch=per_epoch, total_steps=recipe.epochs * per_epoch)


def _repeats(items: Sequence[Any]) -> list[tuple[int, int]]:
    """(first, later) places of equal items."""
    return [(items.index(item), i) for i, item in enumerate(items) if items.index(item) < i]

"""`Study`: what to run, as a file or in Python, checked before anything runs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from prunemark.datasets import DATASETS, DatasetEntry, anchored_dataset, entry_for, form_of, short_dataset, split_scheme
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.own_code import OwnCode, is_own_code, short_name
from prunemark.plugins import Package
from prunemark.recipes import Recipe
from prunemark.registry import unknown
from prunemark.study.changes import changed
from prunemark.study.fields import (
    CHECKED,
    SCHEDULE,
    AblationName,
    BenchmarkName,
    Name,
    NetworkName,
    Normalisation,
    Options,
    Retrain,
    ScoreDtype,
    Sparsities,
    StepText,
    base_recipe,
    entry_in,
    step_in,
    step_text,
)
from prunemark.study.files import read
from prunemark.study.fit import equal_items, misfits, network_problem, recipe_problems, repetitions, unstated_margin
from prunemark.study.method_spec import MethodSpec
from prunemark.study.problems import StudyError, fail, sentences
from prunemark.study.replicates import Replicates, sizes
from prunemark.terms.benchmarks import parse as parse_benchmark
from prunemark.terms.looks import Looks
from prunemark.terms.margins import DEFAULT_MARGIN
from prunemark.terms.metrics import Metric, metric_of
from prunemark.terms.numbers import counted
from prunemark.terms.scoring import SCORING_BATCH
from prunemark.terms.steps import Step


class Study(BaseModel):
    """A study: which methods, ablations and benchmarks to compare, on what, at which sparsities.

    Every field is checked, against the others too, and all problems are reported at once.

    Attributes:
        name: its name in the results.
        network: a name in NETWORKS, or "FILE.py:build", called as build(input_shape=, classes=, **network_options).
        dataset: a name in DATASETS, "hub:OWNER/NAME", or one of your own, as `prunemark.dataset` takes it.
        methods: what prunes at `prune_at`.
        depends_on: files and folders that the user's files read; a change of one runs their jobs again. What
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
        metric: what networks are judged by: "accuracy", "loss", or {"name": "FILE.py:metric", "direction": "higher" or
            "lower", "unit": ...}; None: accuracy, and of regression the loss. See `prunemark.terms.metrics`.
        margin: difference that counts as none, in the metric's unit: percentage points of accuracy, thousandths of the
            loss. It must be given where the metric is not accuracy.
        curves: evaluate after each epoch and store the learning curves. It changes no other number, so trainings that
            were stored without a curve are not run again.

    Raises:
        StudyError: something is wrong with it.

    Examples:
        >>> study = pm.Study(name="a", network="resnet-8", dataset="digits", methods=["snip"], sparsities=[0.9])
        >>> study.full_recipe.epochs, study.replicates
        (16, 3)
        >>> pm.Study.load("quickstart").benchmarks
        ('magnitude-after-training',)
    """

    model_config = CHECKED

    name: Name
    description: StrictStr = ""
    network: NetworkName
    dataset: StrictStr
    network_options: Options = {}
    recipe: dict[str, Any] = {}
    methods: tuple[MethodSpec, ...]
    depends_on: tuple[StrictStr, ...] = ()
    benchmarks: tuple[BenchmarkName, ...] = ()
    ablations: tuple[AblationName, ...] = ()
    sparsities: Sparsities
    replicates: Replicates = 3
    prune_at: Annotated[tuple[StepText, ...], Field(min_length=1)] = ("0ep",)
    score_at: StepText | None = None
    weights_at: StepText | None = None
    retrain: Retrain = "whole"
    rewind_to: StepText | None = None
    examples_per_class: Annotated[StrictInt, Field(ge=1)] = 10
    scoring_batch: Annotated[StrictInt, Field(ge=1)] = SCORING_BATCH
    normalise: Normalisation = "own"
    score_dtype: ScoreDtype | None = None
    tf32: StrictBool = False
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    metric: StrictStr | dict[str, Any] | None = None
    margin: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = DEFAULT_MARGIN
    curves: StrictBool = True

    _changes: dict[str, Any] = PrivateAttr(default_factory=dict[str, Any])

    def __init__(self, /, **fields: Any) -> None:
        repeated = [
            f"Study: {problem}" for problem in (*misfits(fields), *repetitions(fields), *unstated_margin(fields))
        ]
        try:
            super().__init__(**fields)
        except ValidationError as error:
            known = {"": Study.model_fields, "methods": MethodSpec.model_fields}
            raise StudyError([*sentences(error, "Study", known), *repeated]) from None
        if repeated:
            raise StudyError(repeated)

    @classmethod
    def load(cls, study: str | Path, *, set: Mapping[str, Any] | None = None) -> Self:
        """Read a study from a file or by a shipped name, see `prunemark.study.files.read`.

        Args:
            study: the file, or the name.
            set: fields to change, by their dotted path: `{"recipe.epochs": 5}` changes that one field of the recipe.
                The study is then what its file would be with this change; files in the values are taken from the
                current folder.

        Raises:
            StudyError: no such study, TOML that cannot be read, or problems with its content: all of them.
        """
        fields, origin = read(study)
        changes = dict(set or {})
        fields = changed(fields, changes, origin)
        try:
            loaded = cls(**fields)
        except StudyError as error:
            raise StudyError(f"{origin}{line.removeprefix('Study')}" for line in error.problems) from None
        loaded._changes = changes
        return loaded

    def remade(self, **fields: Any) -> Self:
        """The study with these fields in place of its own, checked as a new one is.

        Raises:
            StudyError: something is wrong with it.
        """
        made = type(self)(**{**self.model_dump(exclude={*fields}), **fields})
        made._changes = self._changes
        return made

    def __repr__(self) -> str:
        counts = [(len(self.methods), "method"), (len(self.benchmarks), "benchmark"), (len(self.ablations), "ablation")]
        extent = [counted(number, noun) for number, noun in counts if number]
        extent += ["1 sparsity" if len(self.sparsities) == 1 else f"{len(self.sparsities)} sparsities"]
        extent += [str(self.looks) if self.looks else counted(self.sizes[-1], "replicate")]
        return f'Study("{self.name}": {short_name(self.network)} on {short_dataset(self.dataset)}, {", ".join(extent)})'

    # A validator sees, in info.data, the fields above its own that are right. So each check between fields
    # runs as soon as what it needs is right, and one problem hides no other.

    @field_validator("dataset")
    @classmethod
    def _dataset_fits(cls, name: str, info: ValidationInfo) -> str:
        form = form_of(name)
        if form or split_scheme(name)[0]:
            try:
                name = OwnCode.find(name).check().reference if form == "code" else anchored_dataset(name, Path.cwd())
                entry_for(name)
            except ValueError as error:
                raise fail(str(error)) from None
        elif name not in DATASETS:
            own = '; one of your own is "FILE.py:data", a file .npz, .safetensors or .parquet, "FOLDER/" or "FILE.txt"'
            raise fail(f"{unknown('dataset', name, DATASETS)}{own}")
        else:
            entry_in(DATASETS, name)
        return name

    @field_validator("depends_on")
    @classmethod
    def _is_there(cls, declared: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        paths = [Path(each).expanduser().resolve() for each in declared]
        if missing := [path for path in paths if not path.exists()]:
            raise fail(*(f"there is no file or folder {path}" for path in missing))
        if declared and {"network", "methods"} <= info.data.keys():
            names = (info.data["network"], info.data.get("dataset", ""), *(each.name for each in info.data["methods"]))
            metric = info.data.get("metric")
            names = (*names, metric["name"] if isinstance(metric, dict) else "")
            if not any(map(is_own_code, (*names, *_own_losses(info.data.get("recipe", {}))))):
                raise fail("names what files of your own read, but the study names no FILE.py")
        return tuple(map(str, paths))

    @field_validator("network_options")
    @classmethod
    def _options_fit(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        network, dataset = info.data.get("network", ""), info.data.get("dataset")
        # Where they do not fit each other whatever the options, that is said already.
        if (
            dataset
            and not network_problem(network, dataset, {})
            and (problem := network_problem(network, dataset, options))
        ):
            raise fail(problem)
        return options

    @field_validator("recipe")
    @classmethod
    def _recipe_is_one(cls, changes: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(Recipe)]
        try:
            if {"network", "dataset"} <= info.data.keys():
                recipe = base_recipe(info.data["network"], info.data["dataset"]).override(changes)
                if problems := recipe_problems(recipe, entry_for(info.data["dataset"])):
                    raise fail(*problems)
            elif strangers := [name for name in changes if name not in names]:
                raise fail(*(unknown("recipe field", name, names) for name in strangers))
        except ValueError as error:
            raise fail(str(error)) from None
        own = _own_losses(changes)
        return changes | {"loss": OwnCode.find(own[0]).reference} if own else changes

    @field_validator("metric")
    @classmethod
    def _metric_is_one(cls, given: str | dict[str, Any] | None, info: ValidationInfo) -> str | dict[str, Any] | None:
        try:
            entry = entry_for(info.data["dataset"]) if "dataset" in info.data else None
            metric = metric_of(given, task=entry.task if entry else "classification")
            if entry and metric.name == "accuracy" and entry.task == "regression":
                raise fail('regression has no accuracy: metric = "loss", or one of your own')
            if is_own_code(metric.name):
                reference = OwnCode.find(metric.name).check().reference
                return {**given, "name": reference} if isinstance(given, dict) else given
        except ValueError as error:
            raise fail(str(error)) from None
        return given

    @field_validator("prune_at")
    @classmethod
    def _steps_differ(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.keys() >= SCHEDULE:
            steps = [step_in(info.data, Step.parse(text)) for text in texts]
            if equal := equal_items(steps):
                raise fail(*(f'[{j}]: "{texts[j]}" is the same step as "{texts[i]}"' for i, j in equal))
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
        if text is None and rewinding and info.data.keys() >= SCHEDULE:
            recipe = base_recipe(info.data["network"], info.data["dataset"]).override(info.data["recipe"])
            step_text(str(recipe.rewind_to), info)
        return text

    @field_validator("examples_per_class")
    @classmethod
    def _examples_suffice(cls, count: int, info: ValidationInfo) -> int:
        if "dataset" in info.data:
            entry = entry_for(info.data["dataset"])
            if entry.task != "classification":
                if count > entry.train_examples:
                    raise fail(f"there are {entry.train_examples:,} training examples, fewer than {count}")
                return count
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
    def changes(self) -> Mapping[str, Any]:
        """What `load` was told to set: dotted path -> value. The fields hold it already."""
        return self._changes

    @property
    def own_code(self) -> tuple[str, ...]:
        """The "FILE.py:attribute" of its network, data set, methods and loss, each once."""
        names = (self.network, self.dataset, *(each.name for each in self.methods), *_own_losses(self.recipe))
        names = (*names, self.measure.name)
        return tuple(dict.fromkeys(name for name in names if is_own_code(name)))

    @property
    def packages(self) -> tuple[tuple[str, Package], ...]:
        """Its network, data set and methods that other packages add, each with its package."""
        entries = [(self.network, NETWORKS.get(self.network)), (self.dataset, self.data)]
        entries += [(method.name, METHODS.get(method.name)) for method in self.methods]
        return tuple((name, entry.package) for name, entry in entries if entry is not None and entry.package)

    @property
    def looks(self) -> Looks | None:
        """The looks at its results that decide on further replicates; None if their number is fixed."""
        return self.replicates if isinstance(self.replicates, Looks) else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of replicates at which it may end, ascending."""
        return sizes(self.replicates)

    @property
    def full_recipe(self) -> Recipe:
        """The network's own recipe for the data set, with this study's overrides."""
        return self.base_recipe.override(self.recipe)

    @property
    def base_recipe(self) -> Recipe:
        """The network's own recipe for the data set."""
        return base_recipe(self.network, self.dataset)

    @property
    def measure(self) -> Metric:
        """What its networks are judged by."""
        return metric_of(self.metric, task=self.data.task)

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


def _own_losses(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The "FILE.py:loss" of overrides of a recipe, if there is one."""
    loss = recipe.get("loss")
    return (loss,) if isinstance(loss, str) and is_own_code(loss) else ()

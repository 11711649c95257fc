"""Checks of a study that only running code can make: whether its parts can be made, and how fast they are."""

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunemark.datasets import Dataset, Split, form_of, short_dataset, split_scheme
from prunemark.datasets.fetching import verify
from prunemark.methods import METHODS
from prunemark.models.left_out import parameter_count, share_words
from prunemark.models.prunable import prunable
from prunemark.networks import NETWORKS
from prunemark.own_code import explain, is_own_code
from prunemark.pruning import score
from prunemark.pruning.layer_patterns import pattern_problems
from prunemark.pruning.quotas import quotas
from prunemark.pruning.selection import keep_count
from prunemark.randomness import generator
from prunemark.study.engine_costs import engine_words
from prunemark.study.materials import make_method, make_network, read_data, require_covered_files
from prunemark.study.method_spec import MethodSpec
from prunemark.study.plan import identify
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from prunemark.terms.ablations import ABLATIONS, REDRAWS
from prunemark.training import train
from prunemark.training.losses import make_loss

# Of a batch of a stand-in for data that are not here; more would tell no more about the time of a step on a CPU.
_STAND_IN_VALUES = 2_000_000


def has_data(study: Study, data_dir: str | Path | None) -> bool:
    """True if the study's data can be read without downloading anything; not known of the hub's, and then assumed."""
    if split_scheme(study.dataset)[0] or form_of(study.dataset):
        return True
    return all(report.state == "present" for report in verify(study.dataset, data_dir=data_dir))


def stand_in(study: Study) -> Dataset:
    """One batch of random images of the data set's shape, for `time_step` where the data are not here."""
    entry = study.data
    examples = min(study.full_recipe.batch_size, max(2, _STAND_IN_VALUES // math.prod(entry.input_shape)))
    inputs = torch.randn(examples, *entry.input_shape, generator=generator(0, "stand-in"))
    split = Split(inputs=inputs, targets=torch.arange(examples) % entry.classes)
    names = tuple(map(str, range(entry.classes)))
    return Dataset(name=study.dataset, train=split, test=split, class_names=names, fingerprint="")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings about a study before it runs.

    Attributes:
        step_seconds: of a training step.
        fingerprint: of the data.
        share: how much of the network is prunable, in words.
        engine: what `prunemark.study.engine_costs` says of the engines, if asked.
        state_bytes: size of its parameters and buffers.
        weights: number of its prunable weights.
    """

    step_seconds: float
    fingerprint: str
    share: str
    engine: str = ""
    state_bytes: int = 0
    weights: int = 0


Begin = Callable[[str], None]
"""Called with the field of the study and the code of the user's that runs next, and with "" when none does."""
Apart = Callable[[str, Callable[[], str]], str]
"""Called with the name of a method and the work of checking it, which it does in a process of its own or not; returns
what that returns."""


def preflight(
    study: Study,
    *,
    data_dir: str | None,
    device: str,
    engine: str,
    here: bool,
    costs: bool = False,
    begin: Begin = lambda _: None,
    apart: Apart = lambda _, work: work(),
) -> Findings:
    """Check what only code can tell, and measure a training step.

    Args:
        study: what will run.
        data_dir: where data sets are, see `prunemark.dataset`.
        device: where the step is measured.
        engine: what takes it, or "auto".
        here: whether the data are; else random images stand in for them.
        costs: measure what the layers cost by each engine.
        begin: told what of the user's runs next.
        apart: how each method of the user's is run.

    Raises:
        StudyError: something cannot be made or run; all of it.
        ValueError: the data are missing or damaged.
    """
    begin(_users("dataset", study.dataset))
    data = read_data(study.dataset, data_dir, study.normalise) if here else stand_in(study)
    begin("")
    share = check(study, data, draw_examples=here, begin=begin, apart=apart)
    begin(_users("network", study.network) or _users("recipe.loss", study.full_recipe.loss))
    step_seconds = time_step(study, data, device=device, engine=engine)
    model = _network(study, data)
    return Findings(
        step_seconds=step_seconds,
        fingerprint=data.fingerprint,
        share=share,
        engine=engine_words(model, data.input_shape, engine=engine, device=device) if costs else "",
        state_bytes=sum(each.numel() * each.element_size() for each in model.state_dict().values()),
        weights=sum(weight.numel() for weight in prunable(model).values()),
    )


def check(
    study: Study,
    data: Dataset,
    *,
    draw_examples: bool = True,
    begin: Begin = lambda _: None,
    apart: Apart = lambda _, work: work(),
) -> str:
    """Check what only code can tell: that networks and methods can be made.

    Of real data (`draw_examples`), also that there are enough examples of each class, and that a user's own method can
    score the network. `begin` and `apart` are those of `preflight`.

    Returns:
        How much of the network is prunable, in words.

    Raises:
        StudyError: something cannot; all of it.
    """
    problems: list[str] = []
    model: nn.Module | None = None
    share = ""
    before = set(sys.modules)
    begin(_users("network", study.network))
    try:
        named, files = identify(study.network, NETWORKS, study.depends_on)
        options = {"options": study.network_options}
        model = make_network(named | options, data, 0, files)
        weights = prunable(model)
        require_covered_files(files, before)
    except (Exception, SystemExit) as error:
        problems.append(f"network: {explain(study.network, error)}")
    else:
        share = share_words(sum(weight.numel() for weight in weights.values()), parameter_count(model))
        problems += _quota_problems(study, {name: weight.shape for name, weight in weights.items()})
        problems += _redraw_problems(study, model, lambda: make_network(named | options, data, 1, files))
    for i, method in enumerate(study.methods):
        begin(_users(f"methods[{i}]", method.name))
        work = functools.partial(_method_problem, study, method, data, model, draw_examples)
        if problem := apart(method.name, work) if is_own_code(method.name) else work():
            problems.append(f"methods[{i}]: {problem}")
    if problems:
        raise StudyError(f"{study.name}: {problem}" for problem in problems)
    return share


def _users(field: str, name: str) -> str:
    return f"{field}: {name}" if is_own_code(name) else ""


def _method_problem(
    study: Study, method: MethodSpec, data: Dataset, model: nn.Module | None, draw_examples: bool
) -> str:
    """Reason why a method cannot be made, or a user's cannot score the network; empty if it can."""
    before = set(sys.modules)
    try:
        named, files = identify(method.name, METHODS, study.depends_on)
        made = make_method(named, method.options, study.examples_per_class, files)
        if method.needs_data and draw_examples:
            data.balanced_sample(method.options.get("examples_per_class", study.examples_per_class), generator(0))
        if (files or "package" in named) and model is not None and draw_examples:
            # Better one sentence now than one for each of its jobs.
            score(model, made, data=data, **_loss(study))
        require_covered_files(files, before)
    except (Exception, SystemExit) as error:
        return explain(method.name, error)
    return ""


def _loss(study: Study) -> dict[str, Any]:
    recipe = study.full_recipe.override({"label_smoothing": 0})
    usual = recipe.loss == "cross-entropy" and study.data.task != "next-token"
    return {} if usual else {"loss": make_loss(recipe).mean}


def _redraw_problems(study: Study, model: nn.Module, build_again: Callable[[], nn.Module]) -> list[str]:
    """Ablations whose new weights cannot be drawn for this network."""
    build = build_again if is_own_code(study.network) else None
    problems: list[str] = []
    for name in study.ablations:
        if redraws := ABLATIONS[name].redraws:
            try:
                REDRAWS[redraws].load()(model, seed=0, build=build, initial=model)
            except Exception as error:
                problems.append(f"ablations: {name}: {explain(study.network, error)}")
    return problems


def _quota_problems(study: Study, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Sparsities at which a method's quotas cannot be met by the network's layers."""
    total = sum(math.prod(shape) for shape in shapes.values())
    problems: list[str] = []
    for i, method in enumerate(study.methods):
        if method.quotas is None:
            continue
        if isinstance(method.quotas, dict) and (wrong := pattern_problems(method.quotas, shapes)):
            problems += [f"methods[{i}]: quotas: {each}" for each in wrong]
            continue
        # At sparsity 0 nothing is pruned, whatever the quotas.
        for sparsity in filter(None, study.sparsities):
            try:
                quotas(method.quotas, shapes, keep_count(total, sparsity))
            except ValueError as error:
                problems.append(f"methods[{i}]: quotas: at sparsity {sparsity:g}: {error}")
    return problems


def time_step(
    study: Study, data: Dataset, *, device: str = "cpu", engine: str = "dense", enough_s: float = 0.5
) -> float:
    """Seconds that one training step of the dense network takes here, with one thread.

    Steps are timed until `enough_s` seconds have passed; the first few, which warm up, are left out. With fewer
    examples than a batch has (a stand-in), the time is scaled up in proportion.

    Raises:
        StudyError: the network cannot be trained on the data.
    """
    model = _network(study, data)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe, examples = study.full_recipe, len(data.train)
        scale = min(recipe.batch_size, study.data.train_examples) / min(recipe.batch_size, examples)
        total, steps = recipe.total_steps(examples), 2
        while True:
            steps = min(steps, total)
            try:
                trained = train(model, data.train, recipe, seed=0, until=steps, engine=engine, device=device)
                seconds = trained.train_seconds
            except (Exception, SystemExit) as error:
                reason = explain(study.network, error)
                raise StudyError(
                    [f"{study.name}: network: cannot be trained on {short_dataset(study.dataset)}: {reason}"]
                ) from error
            if seconds >= enough_s or steps == total:
                return scale * seconds / steps
            # Aims straight at the time that is enough; twice as many at least, 16 times at most.
            steps = int(steps * min(16, max(2, 1.2 * enough_s / max(seconds, 1e-6))))
    finally:
        torch.set_num_threads(threads)


def _network(study: Study, data: Dataset) -> nn.Module:
    named, files = identify(study.network, NETWORKS, study.depends_on)
    return make_network(named | {"options": study.network_options}, data, 0, files)

"""What only code can tell of a study before it runs: whether its parts can be made, and how fast they are."""

import math
from collections.abc import Mapping, Sequence

import torch

from prunemark.ablations import reinitialize
from prunemark.datasets import Dataset
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.prunable import prunable
from prunemark.quotas import quotas
from prunemark.randomness import generator
from prunemark.selection import keep_count
from prunemark.study.materials import make_method, make_network
from prunemark.study.plan import identify
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from prunemark.training import train


def check(study: Study, data: Dataset) -> None:
    """Check what only code can tell: that networks and methods can be made, and examples drawn.

    Raises:
        StudyError: something cannot; all of it.
    """
    problems: list[str] = []
    try:
        named, files = identify(study.network, NETWORKS)
        model = make_network(named | {"options": study.network_options}, data, 0, files)
        weights = prunable(model)
    except Exception as error:
        problems.append(f"network: {error}")
    else:
        problems += _quota_problems(study, {name: weight.shape for name, weight in weights.items()})
        if "reinit" in study.ablations:
            try:
                reinitialize(model, seed=0)
            except Exception as error:
                problems.append(f"ablations: reinit: {error}")
    for i, method in enumerate(study.methods):
        try:
            named, files = identify(method.name, METHODS)
            make_method(named, method.options, study.examples_per_class, files)
            if method.needs_data:
                data.balanced_sample(method.options.get("examples_per_class", study.examples_per_class), generator(0))
        except Exception as error:
            problems.append(f"methods[{i}]: {error}")
    if problems:
        raise StudyError(f"{study.name}: {problem}" for problem in problems)


def _quota_problems(study: Study, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Sparsities at which a method's quotas cannot be met by the network's layers."""
    total = sum(math.prod(shape) for shape in shapes.values())
    problems: list[str] = []
    for i, method in enumerate(study.methods):
        for sparsity in study.sparsities if method.quotas else ():
            try:
                quotas(method.quotas, shapes, keep_count(total, sparsity))  # pyright: ignore[reportArgumentType]
            except ValueError as error:
                problems.append(f"methods[{i}]: quotas: at sparsity {sparsity:g}: {error}")
    return problems


def time_step(study: Study, data: Dataset, *, device: str = "cpu", enough_s: float = 0.5) -> float:
    """Seconds that one training step of the dense network takes here, with one thread.

    Steps are timed until `enough_s` seconds have passed; the first few, which warm up, are left out.

    Raises:
        ValueError: the network cannot be trained on the data.
    """
    named, files = identify(study.network, NETWORKS)
    model = make_network(named | {"options": study.network_options}, data, 0, files)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        total, steps = study.total_steps, 2
        while True:
            steps = min(steps, total)
            seconds = train(model, data.train, study.full_recipe, seed=0, until=steps, device=device).train_seconds
            if seconds >= enough_s or steps == total:
                return seconds / steps
            # Aims straight at the time that is enough; twice as many at least, 16 times at most.
            steps = int(steps * min(16, max(2, 1.2 * enough_s / max(seconds, 1e-6))))
    finally:
        torch.set_num_threads(threads)

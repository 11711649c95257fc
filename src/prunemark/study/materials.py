"""The network, the method and the data set that a job names, made."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from prunemark.datasets import DATASETS, Dataset, OverlapWarning, Split, dataset, short_dataset
from prunemark.methods import METHODS, Custom, Method, resolve
from prunemark.methods.options import is_configured, option_names
from prunemark.methods.other_signatures import bridged
from prunemark.networks import NETWORKS, network
from prunemark.networks.own import own_network
from prunemark.own_code import OwnCode, require_covered
from prunemark.recipes import Recipe
from prunemark.registry import find
from prunemark.study.job import Job
from prunemark.training.batches import inputs_on


@functools.lru_cache(maxsize=1)
def make_data(name: str, data_dir: str | None, normalise: str = "own") -> Dataset:
    """The data set, read once in a process."""
    return read_data(name, data_dir, normalise)


def read_data(name: str, data_dir: str | None, normalise: str) -> Dataset:
    """The data set, read now."""
    with warnings.catch_warnings():
        # A note of the plan says it.
        warnings.simplefilter("ignore", OverlapWarning)
        return dataset(name, data_dir=data_dir, normalise=normalise)


def data_of(job: Job, data_dir: str | None) -> Dataset:
    """The data set of a job.

    Raises:
        ValueError: it cannot be read, or is not what it was when the study began.
    """
    named: Any = job.spec["dataset"]
    data = make_data(job.data or named, data_dir, job.spec.get("normalise", "own"))
    expected = named["fingerprint"] if job.data else job.spec.get("dataset_fingerprint")
    if expected and data.fingerprint != expected:
        raise ValueError(f"the data set {short_dataset(job.data or named)} has changed; run the study again")
    return data


@functools.lru_cache(maxsize=1)
def make_training_split(name: str, data_dir: str | None, normalise: str, device: str) -> Split:
    """Training examples of the data set, brought to the device once in a process."""
    split = make_data(name, data_dir, normalise).train
    if device == "cpu":
        return split
    where = torch.device(device)
    return Split(
        inputs=inputs_on(split.inputs, where, torch.channels_last),
        targets=split.targets.to(where),
    )


def make_network(named: Mapping[str, Any], data: Dataset, seed: int, files: Mapping[str, Sequence[str]]) -> nn.Module:
    """A network for the data, drawn for a replicate.

    Args:
        named: {"name": ...} or {"attribute": ..., "file_sha256": ...}, and "options".
        data: gives the shape of an input and the number of classes.
        seed: the replicate's.
        files: a user's file, then what it depends on, by the digest.

    Raises:
        ValueError: the network does not fit the data or its options, or a user's file fails.
    """
    options = named["options"]
    if "name" in named:
        return network(named["name"], input_shape=data.input_shape, classes=data.classes, seed=seed, **options)
    shape, classes = data.input_shape, data.classes
    return own_network(_own(named, files), input_shape=shape, classes=classes, seed=seed, **options)


def make_method(
    named: Mapping[str, Any], options: Mapping[str, Any], examples_per_class: int, files: Mapping[str, Sequence[str]]
) -> Method:
    """A method with its options.

    A user's function is called as function(problem, **options); a user's class is made with the options.

    Args:
        named: {"name": ...} or {"attribute": ..., "file_sha256": ...}.
        options: the method's own; `examples_per_class` among them wins over the argument of that name.
        examples_per_class: for methods that draw examples.
        files: a user's file, then what it depends on, by the digest.

    Raises:
        ValueError: an option that the method does not have, or a user's file fails.
    """
    given = {"examples_per_class": examples_per_class, **options}
    target: Any = METHODS[named["name"]].load() if "name" in named else bridged(_own(named, files).load())
    if isinstance(target, type):
        used = given if "examples_per_class" in option_names(target) else options
        return resolve(named.get("name", target), **used)
    if is_configured(target):
        return resolve(target, **options)
    samples: int = given.pop("examples_per_class")
    return Custom(function=functools.partial(target, **given), examples_per_class=samples)


def make_recipe(fields: Mapping[str, Any], files: Mapping[str, Sequence[str]]) -> Recipe:
    """The recipe of a job.

    Args:
        fields: `Recipe.to_dict`, but a user's loss is {"attribute": ..., "file_sha256": ...}.
        files: a user's file, then what it depends on, by the digest.

    Raises:
        ValueError: a user's file has changed.
    """
    named = dict(fields)
    if isinstance(loss := named.get("loss"), Mapping):
        named["loss"] = _own(loss, files).reference
    return Recipe(**named)


def metric_name(job: Job) -> str:
    """The "FILE.py:metric" that a job computes at the end of its training; empty if it computes none.

    Raises:
        ValueError: the file has changed.
    """
    return _own(job.spec["metric"], job.files).reference if "metric" in job.spec else ""


def require_covered_files(files: Mapping[str, Sequence[str]], before: set[str]) -> None:
    """Check that what these files imported since `before`, the names in `sys.modules` then, is part of their digests.

    Raises:
        ValueError: something is not; see `prunemark.own_code.require_covered`.
    """
    require_covered([OwnCode.find(f"{path}:", depends_on) for path, *depends_on in files.values()], before)


def require_packages(spec: Mapping[str, Any]) -> None:
    """Check that the packages of others that a job names are those that are here.

    Raises:
        ValueError: one has changed since the study was planned, or is gone.
    """
    data: Any = {"name": spec["dataset"], "package": spec.get("dataset_package")}
    for table, named in ((NETWORKS, spec["network"]), (METHODS, spec.get("method")), (DATASETS, data)):
        if named and (known := named.get("package")):
            entry = find(table, table.kind, named["name"])
            if entry.package is None or entry.package.identity() != known:
                raise ValueError(f"the package {known['name']} has changed since the study began; run the study again")


def _own(named: Mapping[str, Any], files: Mapping[str, Sequence[str]]) -> OwnCode:
    path, *depends_on = files[named["file_sha256"]]
    code = OwnCode.find(f"{path}:{named['attribute']}", depends_on)
    if code.digest != named["file_sha256"]:
        what = "" if len(code.covered) == 1 else " or what it depends on"
        raise ValueError(f"{code.path}{what} has changed since the study began; run the study again")
    return code

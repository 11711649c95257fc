"""The examples that scores are computed on."""

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunemark.datasets import Dataset
from prunemark.methods.base import Method
from prunemark.models.calling import TARGETS, Batch, map_tensors
from prunemark.models.copies import at_least_single
from prunemark.randomness import derive, generator

Data = Dataset | Iterable[Batch]


def scoring_batches(
    data: Data | None,
    method: Method,
    *,
    seed: int,
    size: int,
    device: torch.device,
    dtype: torch.dtype,
    single: bool,
) -> Sequence[Batch]:
    """The (inputs, targets) batches that a method scores with, on the model's device; none without data.

    Of a dataset, a sample as the method asks for it, `size` examples per batch, in the model's own `dtype`; anything
    else is taken to be batches, (inputs, targets) or mappings with the targets as "labels", "label" or "targets", all
    of which are used as they are, but that half-precision inputs become float32 if `single`.

    Raises:
        ValueError: `data` is not an iterable of pairs, holds no batches or an empty one; a class of the dataset has
            fewer examples than the method asks for.
    """
    if data is None:
        return ()
    if isinstance(data, Dataset):
        return _sample(data, method, seed, size, device, dtype)

    def place(tensor: Tensor) -> Tensor:
        # A tensor made in inference mode cannot be used in a backward pass.
        placed = (tensor.clone() if tensor.is_inference() else tensor).to(device)
        return at_least_single(placed) if single else placed

    with _reseeded(data, seed):
        batches = [(map_tensors(place, inputs), map_tensors(place, targets)) for inputs, targets in _pairs(data)]
    if not batches:
        raise ValueError("data holds no batches")
    for number, (inputs, _) in enumerate(batches):
        if any(tensor.ndim and not len(tensor) for tensor in tensors_of(inputs)):
            raise ValueError(f"batch {number} of data has no examples")
    return batches


def example_shape(data: Data | None, batches: Sequence[Batch]) -> tuple[int, ...] | None:
    """The shape of one example, where inputs are one tensor."""
    if isinstance(data, Dataset):
        return tuple(data.input_shape)
    if batches and isinstance(inputs := batches[0][0], Tensor):
        return tuple(inputs.shape[1:])
    return None


def fingerprint(batches: Sequence[Batch]) -> str | None:
    """SHA-256 (hex) over the tensors of batches, their types and shapes, in order; None without batches."""
    if not batches:
        return None
    digest = hashlib.sha256()
    for tensor in tensors_of(batches):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in a tensor, or in nested tuples, lists and mappings of them."""
    found: list[Tensor] = []
    map_tensors(found.append, value)
    return found


def _sample(
    data: Dataset, method: Method, seed: int, size: int, device: torch.device, dtype: torch.dtype
) -> list[Batch]:
    if (ordinary := method.ordinary_batch) is not None:
        if ordinary > len(data.train):
            raise ValueError(f'"{data.name}" has {len(data.train)} training examples; {ordinary} were asked for')
        chosen = torch.randperm(len(data.train), generator=generator(seed, "examples"))[:ordinary]
        inputs, targets = data.train.inputs[chosen], data.train.targets[chosen]
    else:
        inputs, targets = data.balanced_sample(method.examples_per_class, generator(seed, "examples"))
        # Drawn class by class; batches must mix the classes, or BatchNorm sees one class at a time.
        order = torch.randperm(len(inputs), generator=generator(seed, "examples", "order"))
        inputs, targets = inputs[order], targets[order]
    inputs, targets = (
        each.to(device, dtype) if each.is_floating_point() else each.to(device) for each in (inputs, targets)
    )
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def _pairs(data: Iterable[Any]) -> Iterable[Batch]:
    expected = "data is a dataset of prunemark, or an iterable of (inputs, targets) batches"
    if isinstance(data, Tensor | Mapping | str) or (
        isinstance(data, tuple) and any(isinstance(item, Tensor) for item in data)
    ):
        raise ValueError(f"{expected} such as [(inputs, targets)], not one {type(data).__name__}")
    if isinstance(data, torch.utils.data.Dataset) and not isinstance(data, torch.utils.data.IterableDataset):
        raise ValueError(f"{expected}, such as a DataLoader of this {type(data).__name__}")
    if not isinstance(data, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{expected}, not a {type(data).__name__}")
    for number, batch in enumerate(data):
        if isinstance(batch, Mapping):
            yield _named(batch, number)
            continue
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            what = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list | Mapping) else None
            raise ValueError(f"{expected}; batch {number} is a {what or type(batch).__name__}")
        if any(isinstance(part, np.ndarray) for part in batch):
            raise ValueError(
                f"{expected} of tensors; batch {number} holds NumPy arrays: torch.from_numpy makes tensors"
            )
        if isinstance(batch[1], int | float) or (isinstance(batch[1], Tensor) and batch[1].ndim == 0):
            raise ValueError(
                f"{expected}; item {number} is a single example, with one target: torch.utils.data.DataLoader makes "
                "batches of them"
            )
        yield batch[0], batch[1]


def _named(batch: Mapping[Any, Any], number: int) -> Batch:
    """The inputs and targets of a batch as Hugging Face's loaders yield it."""
    found = [name for name in TARGETS if name in batch]
    if len(found) != 1 or len(batch) < 2:
        raise ValueError(
            f"a batch that is a mapping holds inputs by name, and its targets as one of {', '.join(TARGETS)}; "
            f"batch {number} has {', '.join(map(str, batch))}"
        )
    return {name: value for name, value in batch.items() if name not in found}, batch[found[0]]


@contextmanager
def _reseeded(data: Any, seed: int) -> Generator[None]:
    """Give a loader's own random generators a state that the seed names; theirs is restored after."""
    sampler, batches = getattr(data, "sampler", None), getattr(data, "batch_sampler", None)
    places = (data, sampler, batches, getattr(batches, "sampler", None))
    owned = {
        id(source): source
        for place in places
        if isinstance(source := getattr(place, "generator", None), torch.Generator)
    }
    states = {key: source.get_state() for key, source in owned.items()}
    try:
        for source in owned.values():
            source.manual_seed(derive(seed, "batches"))
        yield
    finally:
        for key, source in owned.items():
            source.set_state(states[key])

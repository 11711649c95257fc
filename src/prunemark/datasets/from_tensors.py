"""A user's arrays or tensors as a data set: types, normalisation, fingerprint, overlap of the splits."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunemark.datasets.in_memory import Dataset, Split, byte_counts, fingerprint_of, moments

Pair = tuple[Any, Any]
"""Inputs and targets, tensors or arrays of equal length."""


def from_tensors(name: str, *, train: Pair, test: Pair, class_names: Sequence[str] | None = None) -> Dataset:
    """A data set of a user's own.

    Inputs of uint8 (N, C, H, W) are images, normalised by the mean and standard deviation of each channel over the
    training images; other numbers are taken as they are: floating ones become float32, whole ones (N, T) stay tokens.
    What the targets are says what the task is, see `prunemark.datasets.in_memory.task_of`.

    Args:
        name: for messages.
        train: inputs and targets.
        test: inputs and targets.
        class_names: of the classes, values of a target or tokens; by default numbers.

    Raises:
        ValueError: inputs or targets of no such type or shape, splits of different types, values that are not finite,
            or what `Dataset` refuses.
    """
    pairs = {label: _pair(name, label, pair) for label, pair in (("train", train), ("test", test))}
    kinds = [pair[0].dtype for pair in pairs.values()]
    if kinds[0] != kinds[1]:
        # Images of one in bytes, of the other in fractions, say: what normalises one is wrong for the other.
        raise ValueError(f'the inputs of "{name}" are {kinds[0]} in train, and {kinds[1]} in test')
    names = tuple(map(str, class_names)) if class_names is not None else _numbers(pairs)
    arrays = [tensor.numpy() for pair in pairs.values() for tensor in pair]
    fingerprint = hashlib.sha256(json.dumps([fingerprint_of(*arrays), names]).encode()).hexdigest()
    images = pairs["train"][0].dtype == torch.uint8
    if images:
        made = _normalised(name, pairs)
    else:
        made = {label: Split(inputs=inputs, targets=targets) for label, (inputs, targets) in pairs.items()}
    return Dataset(
        name=name,
        train=made["train"],
        test=made["test"],
        class_names=names,
        fingerprint=fingerprint,
        overlap=overlap(pairs["train"][0], pairs["test"][0]),
    )


def overlap(train: Tensor, test: Tensor) -> int:
    """How many test examples are among the training examples, by their inputs, bit for bit."""
    known = set(_digests(train))
    return sum(digest in known for digest in _digests(test))


def _digests(inputs: Tensor) -> list[bytes]:
    rows = np.ascontiguousarray(inputs.numpy())
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _normalised(name: str, pairs: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Split]:
    train = pairs["train"][0].numpy()
    counts = np.stack([byte_counts(train[:, channel]) for channel in range(train.shape[1])])
    mean, std = (torch.from_numpy(each)[:, None, None] for each in moments(name, counts))
    return {
        label: Split(inputs=((inputs.double() - mean) / std).float(), targets=targets)
        for label, (inputs, targets) in pairs.items()
    }


def _pair(name: str, label: str, pair: Pair) -> tuple[Tensor, Tensor]:
    where = f'the {label} split of "{name}"'
    inputs, targets = (_tensor(where, what, value) for what, value in zip(("inputs", "targets"), pair, strict=True))
    if inputs.ndim < 2 or targets.ndim < 1 or len(inputs) != len(targets):
        raise ValueError(
            f"{where} must be inputs (N, ...) and targets (N, ...) of one length, "
            f"not {tuple(inputs.shape)} and {tuple(targets.shape)}"
        )
    if inputs.is_floating_point() or inputs.dtype == torch.bool:
        inputs = inputs.float()
    elif inputs.dtype != torch.uint8 or inputs.ndim != 4:
        inputs = inputs.long()
    if targets.is_floating_point():
        targets = targets.float()
        targets = targets[:, None] if targets.ndim == 1 else targets
    else:
        targets = targets.long()
    for what, tensor in (("inputs", inputs), ("targets", targets)):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"the {what} of {where} hold values that are not finite")
    return inputs.contiguous(), targets.contiguous()


def _tensor(where: str, what: str, value: Any) -> Tensor:
    try:
        tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"the {what} of {where} are not numbers of one shape: {error}") from error
    if tensor.is_complex():
        raise ValueError(f"the {what} of {where} are complex numbers")
    return tensor


def _numbers(pairs: dict[str, tuple[Tensor, Tensor]]) -> tuple[str, ...]:
    """Numbers as names: of classes, of the values of a target, or of tokens."""
    targets = pairs["train"][1]
    if targets.is_floating_point():
        return tuple(map(str, range(targets.shape[1])))
    whole = [tensor for pair in pairs.values() for tensor in pair if not tensor.is_floating_point()]
    if targets.ndim != 2:
        whole = [pair[1] for pair in pairs.values()]
    return tuple(map(str, range(1 + max((int(tensor.max()) for tensor in whole if tensor.numel()), default=0))))

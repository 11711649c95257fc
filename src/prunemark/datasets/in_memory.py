"""A data set: two splits of labelled, normalised examples, as tensors in memory or lazily."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunemark.datasets import Normalisation
from prunemark.datasets.lazy import LazyInputs, PixelInputs
from prunemark.terms.numbers import by_sides, counted

SplitInputs = Tensor | LazyInputs
Images = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Split:
    """Labelled examples: of images, `inputs` float32 (N, C, H, W) and `targets` int64 (N,).

    Of data too large for that, `inputs` are `LazyInputs`, which give float32 batches when they are indexed. Other
    inputs are float32 (N, ...), or tokens, int64 (N, T). What else targets may be depends on the task, see `task_of`.

    Raises:
        ValueError: other types or shapes, or unequal lengths.
    """

    inputs: SplitInputs
    targets: Tensor

    def __post_init__(self) -> None:
        inputs, targets = self.inputs, self.targets
        if isinstance(inputs, Tensor):
            numbers = inputs.dtype == torch.float32 and inputs.ndim >= 2
            if not numbers and (inputs.dtype, inputs.ndim) != (torch.int64, 2):
                raise ValueError(
                    "inputs must be float32 (N, ...), such as images (N, C, H, W), or tokens, int64 (N, T); "
                    f"not {inputs.dtype} {tuple(inputs.shape)}"
                )
        if len(targets) != len(inputs):
            raise ValueError(f"there must be a target for each of {len(inputs)} inputs, not {len(targets)}")
        task_of(targets)

    @property
    def task(self) -> str:
        """A name in `prunemark.terms.tasks.TASKS`."""
        return task_of(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"Split({counted(len(self), 'example')}, {by_sides(self.inputs.shape[1:])})"


def task_of(targets: Tensor) -> str:
    """The task that targets are of, a name in `prunemark.terms.tasks.TASKS`.

    int64 (N,) are classes: classification. int64 (N, H, W) are classes of pixels: segmentation. int64 (N, T) are
    tokens: next-token. float32 (N, K) are values: regression.

    Raises:
        ValueError: none of these.
    """
    if targets.dtype == torch.float32 and targets.ndim == 2:
        return "regression"
    if targets.dtype == torch.int64 and targets.ndim in _WHOLE:
        return _WHOLE[targets.ndim]
    raise ValueError(
        "targets must be int64 (N,) for classification, (N, T) for the next token or (N, H, W) for segmentation, or "
        f"float32 (N, K) for regression; not {targets.dtype} {tuple(targets.shape)}"
    )


_COUNTED = {"regression": "values", "next-token": "tokens"}
_WHOLE = {1: "classification", 2: "next-token", 3: "segmentation"}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """A training and a test split, normalised by the training mean and standard deviation unless asked otherwise.

    `class_names[c]` is what target c means. `fingerprint` is the SHA-256 of the examples as they were
    before normalisation (hashed again with the name of another than their own): equal fingerprints mean equal data,
    wherever the files came from. `overlap` is the number of test examples whose inputs are training examples, too,
    where that was looked for.

    For tasks other than classification `class_names` are those of a pixel's classes, of the tokens, or of the values
    that are predicted.

    Raises:
        ValueError: an empty split, splits of different shapes or tasks, or a target outside the classes.

    Examples:
        >>> data = pm.dataset("digits")
        >>> len(data.train.targets), len(data.test.targets)
        (1297, 500)
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.train.task != self.test.task:
            raise ValueError(f'the targets of "{self.name}" are of {self.train.task}, and in test of {self.test.task}')
        for label, split in (("train", self.train), ("test", self.test)):
            if len(split) == 0:
                raise ValueError(f'the {label} split of "{self.name}" is empty')
            if split.task == "regression":
                if split.targets.shape[1] != self.classes:
                    raise ValueError(
                        f'the {label} split of "{self.name}" has targets of {split.targets.shape[1]} values, and there '
                        f"are {self.classes} names"
                    )
                continue
            low, high = int(split.targets.min()), int(split.targets.max())
            if low < 0 or high >= self.classes:
                raise ValueError(
                    f'the {label} split of "{self.name}" has targets {low} to {high}; '
                    f"with {self.classes} classes they must be 0 to {self.classes - 1}"
                )
        if self.train.inputs.shape[1:] != self.test.inputs.shape[1:]:
            raise ValueError(
                f'the splits of "{self.name}" differ in shape: train {tuple(self.train.inputs.shape[1:])}, '
                f"test {tuple(self.test.inputs.shape[1:])}"
            )

    def __repr__(self) -> str:
        return (
            f'Dataset("{self.name}": {len(self.train):,} train and {len(self.test):,} test examples, '
            f"{by_sides(self.input_shape)}, {self.classes} {_COUNTED.get(self.task, 'classes')})"
        )

    @property
    def classes(self) -> int:
        """The number of classes; of tokens or values that are predicted, for other tasks."""
        return len(self.class_names)

    @property
    def task(self) -> str:
        """A name in `prunemark.terms.tasks.TASKS`."""
        return self.train.task

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example; of an image (channels, height, width)."""
        return tuple(self.train.inputs.shape[1:])

    def balanced_sample(self, per_class: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw exactly `per_class` training examples of each class, without replacement.

        The classes take turns (0, 1, ..., C-1, 0, 1, ...), so that the sample cut into batches of a
        multiple of C examples has balanced batches too. Where an example has no class of its own, in tasks other than
        classification, `per_class` examples are drawn in all.

        Returns:
            inputs (per_class * C, C, H, W) and targets (per_class * C,), on the data's device.

        Raises:
            ValueError: `per_class` is below 1, or a class has fewer training examples.
        """
        if per_class < 1:
            raise ValueError(f"per_class must be at least 1, not {per_class}")
        drawn: list[Tensor] = []
        if self.task != "classification":
            if len(self.train) < per_class:
                raise ValueError(f'"{self.name}" has {len(self.train)} training examples; {per_class} were asked for')
            chosen = torch.randperm(len(self.train), generator=generator)[:per_class]
            return self.train.inputs[chosen], self.train.targets[chosen]
        for index, label in enumerate(self.class_names):
            members = (self.train.targets == index).nonzero().flatten()
            if len(members) < per_class:
                raise ValueError(
                    f'class {index} ("{label}") of "{self.name}" has {len(members)} training examples; '
                    f"{per_class} per class were asked for"
                )
            order = torch.randperm(len(members), generator=generator)[:per_class]
            drawn.append(members[order.to(members.device)])
        chosen = torch.stack(drawn, dim=1).flatten()
        return self.train.inputs[chosen], self.train.targets[chosen]


def from_images(
    name: str,
    *,
    train: tuple[Images, Labels],
    test: tuple[Images, Labels],
    class_names: tuple[str, ...],
    normalisation: Normalisation | None = None,
) -> Dataset:
    """Normalise images (N, C, H, W) of uint8 and make a Dataset of them.

    Each value v of channel c becomes (v - mean_c) / std_c, with the population mean and standard deviation
    of the training images unless a normalisation is given; computed in float64 and rounded to float32 once.

    Raises:
        ValueError: a channel of the training images is constant, or what `Dataset` refuses.
    """
    tables = _normalisation(name, train[0], normalisation)
    return Dataset(
        name=name,
        train=_split(*train, tables),
        test=_split(*test, tables),
        class_names=class_names,
        fingerprint=fingerprint_of(*train, *test),
    )


def from_pixels(
    name: str,
    *,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    mean: Tensor,
    std: Tensor,
    class_names: tuple[str, ...],
    fingerprint: str,
) -> Dataset:
    """A Dataset of bytes (N, H, W, C), normalised a batch at a time, and targets (N,).

    Raises:
        ValueError: what `PixelInputs` and `Dataset` refuse.
    """

    def split(pixels: Tensor, targets: Tensor) -> Split:
        return Split(inputs=PixelInputs(pixels, mean=mean, std=std), targets=targets)

    return Dataset(name=name, train=split(*train), test=split(*test), class_names=class_names, fingerprint=fingerprint)


def moments(name: str, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Population mean and standard deviation of each channel, from how often each byte occurs in it, (C, 256).

    Raises:
        ValueError: a channel is constant.
    """
    values = np.arange(256, dtype=np.float64)
    mean, std = np.empty(len(counts)), np.empty(len(counts))
    for channel, count in enumerate(counts.astype(np.float64)):
        mean[channel] = count @ values / count.sum()
        std[channel] = np.sqrt(count @ (values - mean[channel]) ** 2 / count.sum())
    if constant := np.flatnonzero(std == 0).tolist():
        raise ValueError(f'channel {constant[0]} of the training images of "{name}" is constant')
    return mean, std


def byte_counts(channel: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of occurrences of each byte value, (256,)."""
    # torch counts bytes as they are; numpy would copy them to int64, eight times the memory.
    return torch.bincount(torch.from_numpy(channel.copy()).flatten(), minlength=256).numpy()


def fingerprint_of(*arrays: NDArray[Any]) -> str:
    """The SHA-256 of the arrays' types, shapes and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        # The shape is part of the content: the same bytes as 4x16 and 8x8 images are other data.
        digest.update(f"{array.dtype.name} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def in_bytes(normalisation: Normalisation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Its mean and standard deviation, (C,), in the units of a byte."""
    return 255 * np.array(normalisation.mean), 255 * np.array(normalisation.std)


def _normalisation(name: str, images: Images, given: Normalisation | None) -> NDArray[np.float32]:
    """The normalised value of each of the 256 pixel values, (C, 256)."""
    if given is None:
        mean, std = moments(name, np.stack([byte_counts(images[:, channel]) for channel in range(images.shape[1])]))
    else:
        mean, std = in_bytes(given)
    return ((np.arange(256) - mean[:, np.newaxis]) / std[:, np.newaxis]).astype(np.float32)


def _split(images: Images, labels: Labels, tables: NDArray[np.float32]) -> Split:
    inputs = np.empty(images.shape, dtype=np.float32)
    for channel, table in enumerate(tables):
        # A byte cannot be out of a table of 256, so "clip" only saves take the check, and a copy.
        np.take(table, images[:, channel], out=inputs[:, channel], mode="clip")
    return Split(inputs=torch.from_numpy(inputs), targets=torch.from_numpy(labels.astype(np.int64)))

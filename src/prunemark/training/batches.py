"""The batches of a training set: in which order, and augmented."""

import torch
from torch import Tensor

from prunemark.datasets import LazyInputs, Split, SplitInputs
from prunemark.datasets.coded import CodedInputs
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training.augmentation import Augmenter
from prunemark.training.mixing import Targets, mix


class Batches:
    """An epoch's batches, which depend on the seed and the epoch alone.

    Epoch e visits all examples in the order of `generator(seed, "order", e)`, cut as `Recipe.steps_per_epoch` says;
    its augmentations are drawn from `generator(seed, "augment", e)`, for all examples when it begins.

    Args:
        data: the training examples; moved to the device as a whole.
        recipe: batch size, augmentations and mixup.
        seed: the replicate's seed.
        device: where batches come out.
        memory_format: their layout.
    """

    def __init__(
        self, data: Split, recipe: Recipe, *, seed: int, device: torch.device, memory_format: torch.memory_format
    ) -> None:
        self._inputs = inputs_on(data.inputs, device, memory_format)
        self._targets = data.targets.to(device)
        self._size, self._seed, self._mixup, self._epoch = recipe.batch_size, seed, recipe.mixup, 0
        self._examples = len(data.inputs)
        self.per_epoch = recipe.steps_per_epoch(self._examples)
        self._augment = Augmenter(recipe.augment, self._inputs)
        self._places = self._order = torch.empty(0)
        self._shown = self._inputs

    def begin(self, epoch: int) -> None:
        """Draw the order and the augmentations of an epoch."""
        self._epoch = epoch
        self._places = torch.randperm(self._examples, generator=generator(self._seed, "order", epoch))
        self._order = self._places.to(self._targets.device)
        self._augment.begin(generator(self._seed, "augment", epoch))
        self._shown = self._augment.shown(self._inputs)

    def whole(self, position: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """All images and class numbers, and a batch's places among them; None where its images are made for it."""
        if self._augment.augmentations or self._mixup or isinstance(self._inputs, LazyInputs):
            return None
        first, stop = self._bounds(position)
        return self._inputs, self._targets, self._order[first:stop]

    def size(self, position: int) -> int:
        """Number of examples of a batch."""
        first, stop = self._bounds(position)
        return stop - first

    def _bounds(self, position: int) -> tuple[int, int]:
        first = position * self._size
        # The last batch takes what is left, see Recipe.steps_per_epoch.
        return first, first + self._size if position + 1 < self.per_epoch else self._examples

    def __getitem__(self, position: int) -> tuple[Tensor, Targets]:
        """The images (B, C, H, W) and class numbers (B,) of one of the epoch's batches, counted from 0."""
        first, stop = self._bounds(position)
        batch = self._order[first:stop]
        if isinstance(self._shown, LazyInputs) and not isinstance(self._shown, CodedInputs):
            # By numbers on the CPU, so that nothing waits for an accelerator; the next batch is decoded meanwhile.
            images = self._shown[self._places[first:stop]]
            self._shown.prefetch(self._places[stop : stop + self._size])
        else:
            images = self._shown[batch]
        images, targets = self._augment(images, batch), self._targets[batch]
        if not self._mixup:
            return images, targets
        return mix(images, targets, self._mixup, seed=self._seed, epoch=self._epoch, position=position)


def inputs_on(inputs: SplitInputs, device: torch.device, memory_format: torch.memory_format) -> SplitInputs:
    """Inputs on a device: on a GPU as bytes where they can be, which are turned into the same floats batch by batch."""
    if isinstance(inputs, Tensor) and inputs.ndim != 4:
        return inputs.to(device)  # a layout of images is none of theirs
    if isinstance(inputs, Tensor) and device.type == "cuda":
        coded = CodedInputs.of(inputs, device, memory_format=memory_format)
        if coded is not None:
            return coded
    return inputs.to(device, memory_format=memory_format)

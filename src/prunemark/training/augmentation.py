"""Augmentation of training images: whole batches of tensors, on their device, from numbers drawn per epoch.

All random numbers of an epoch are drawn at once, on the CPU, one row for each training example. So what is done to an
example in an epoch depends on the replicate's seed and the epoch alone: not on its place in the order, the batch size,
the device, or the step from which training continues.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from prunemark.datasets import SplitInputs
from prunemark.datasets.lazy import Part, WholeImages
from prunemark.recipes import AUGMENTATIONS
from prunemark.recipes.augmentations import split_size


class Augmentation(Protocol):
    """One change to training images. Shapes: N examples, B in a batch, C channels, H x W pixels."""

    def draw(self, examples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """The random integers of an epoch, one row per example: (N, numbers per image)."""
        ...

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change images (B, C, H, W) as their rows of draws (B, numbers per image) say; the shape stays."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Crop:
    """A window of the image's own size, placed uniformly at random on the image with a border around it.

    Attributes:
        black: the border's value in each channel, (C,).
        pad: the border's width in pixels.

    Reference: He et al. 2016, arXiv 1512.03385, section 4.2 (a border of 4).
    """

    black: Tensor
    pad: int = 4

    def draw(self, examples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """The window's top and left, in 0 ... 2 * pad: (N, 2)."""
        return torch.randint(2 * self.pad + 1, (examples, 2), generator=generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Cut the windows out."""
        count, channels, height, width = images.shape
        shape = count, channels, height + 2 * self.pad, width + 2 * self.pad
        bordered = self.black.to(images)[:, None, None].expand(shape).clone(memory_format=torch.channels_last)
        bordered[:, :, self.pad : -self.pad, self.pad : -self.pad] = images
        windows = bordered.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, H, W), a view
        return windows[torch.arange(count, device=images.device), :, draws[:, 0], draws[:, 1]]


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """A square of the mean colour, 0 in normalised units, over the image; what of it is outside is cut off.

    Its middle is a pixel drawn uniformly from the image.

    Attributes:
        side: of the square in pixels; None: half the image's shorter side.

    Reference: DeVries & Taylor 2017, arXiv 1708.04552, and their program; 16 on CIFAR-10 and 8 on CIFAR-100.
    """

    side: int | None = None

    def draw(self, examples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """The row and column of its middle: (N, 2)."""
        rows, columns = (torch.randint(side, (examples,), generator=generator) for side in (height, width))
        return torch.stack([rows, columns], dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Cover the square: pixels from the middle - side // 2 to the middle + side - side // 2 - 1."""
        height, width = images.shape[2:]
        side = min(height, width) // 2 if self.side is None else self.side
        within: list[Tensor] = []
        for middle, length in zip(draws.unbind(1), (height, width), strict=True):
            offset = torch.arange(length, device=images.device) - middle[:, None] + side // 2
            within.append((offset >= 0) & (offset < side))
        return images.masked_fill((within[0][:, :, None] & within[1][:, None, :])[:, None], 0)


@dataclass(frozen=True, kw_only=True)
class Flip:
    """The mirror image, left and right exchanged, of every other image on average."""

    def draw(self, examples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """1 for an image to mirror, else 0, with equal probability: (N, 1)."""
        return torch.randint(2, (examples, 1), generator=generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Mirror the images whose number is 1."""
        return torch.where(draws.bool()[:, :, None, None], images.flip(3), images)


@dataclass(frozen=True, kw_only=True)
class ResizedCrop:
    """A part of the image, of random size, shape and place, scaled to the size of the inputs.

    The part's share of the area is uniform over `area`, the logarithm of its width : height over `aspect`; sides are
    rounded to pixels. A part that is not within the image is drawn again, ten times at most; then the part is the
    largest one in the middle whose width : height is within `aspect`. Scaling is bilinear; a part is never scaled down,
    so that antialiasing makes no difference, except from whole images (`CutParts`), where it is antialiased.

    Reference: Szegedy et al. 2015, arXiv 1409.4842, as torchvision's RandomResizedCrop, whose area and aspect are the
    defaults.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    tries: int = 10

    def draw(self, examples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """The part's top, left, height and width in pixels: (N, 4)."""
        tall, wide = (torch.full((examples,), side) for side in self._middle(height, width))
        missing = torch.ones(examples, dtype=torch.bool)
        log_aspect = [math.log(bound) for bound in self.aspect]
        for _ in range(self.tries):
            area = torch.empty(examples).uniform_(*self.area, generator=generator) * (height * width)
            root = torch.empty(examples).uniform_(*log_aspect, generator=generator).div_(2).exp_()
            w, h = ((area.sqrt() * factor).round().long() for factor in (root, 1 / root))
            found = missing & (w > 0) & (w <= width) & (h > 0) & (h <= height)
            tall, wide = torch.where(found, h, tall), torch.where(found, w, wide)
            missing &= ~found
        places = torch.rand(2, examples, generator=generator, dtype=torch.float64)
        top, left = (
            torch.where(missing, room // 2, (place * (room + 1)).long())
            for place, room in zip(places, (height - tall, width - wide), strict=True)
        )
        return torch.stack([top, left, tall, wide], dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Scale each part to the image's size."""
        top, left, tall, wide = draws.unbind(1)
        vertical = _bilinear(top, tall, images.shape[2]).to(images.dtype)
        horizontal = _bilinear(left, wide, images.shape[3]).to(images.dtype)
        return torch.einsum("byh,bchw,bxw->bcyx", vertical, images, horizontal)

    def draw_one(self, height: int, width: int, rng: random.Random) -> tuple[int, int, int, int]:
        """The part's top, left, height and width of one image, by the same law as `draw`."""
        low, high = (math.log(bound) for bound in self.aspect)
        for _ in range(self.tries):
            area = rng.uniform(*self.area) * (height * width)
            root = math.exp(rng.uniform(low, high) / 2)
            wide, tall = round(math.sqrt(area) * root), round(math.sqrt(area) / root)
            if 0 < wide <= width and 0 < tall <= height:
                return rng.randint(0, height - tall), rng.randint(0, width - wide), tall, wide
        tall, wide = self._middle(height, width)
        return (height - tall) // 2, (width - wide) // 2, tall, wide

    def _middle(self, height: int, width: int) -> tuple[int, int]:
        narrowest, widest = self.aspect
        return min(height, round(width / narrowest)), min(width, round(height * widest))


@dataclass(frozen=True, kw_only=True)
class CutParts:
    """`ResizedCrop` of whole images, cut when they are decoded: from the image in its own resolution.

    As an image's size is not known before it is decoded, an epoch's draws are a seed for each of them.
    """

    crop: ResizedCrop

    def draw(self, examples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """A seed for each image: (N, 1)."""
        return torch.randint(2**63 - 1, (examples, 1), generator=generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """The images as they are: they were cut before."""
        return images

    def part(self, draws: Tensor) -> Part:
        """Part of each whole image that is shown, by an epoch's draws (N, 1)."""
        seeds = draws.cpu()

        def drawn(number: int, height: int, width: int) -> tuple[int, int, int, int]:
            return self.crop.draw_one(height, width, random.Random(int(seeds[number])))

        return drawn


def _bilinear(start: Tensor, length: Tensor, size: int) -> Tensor:
    """The weight of each pixel of a side in each pixel of the part that is scaled to that side: (B, size, size).

    Output pixel i is at x = start + (i + 1/2) length / size; the weight of input pixel j, with its middle at j + 1/2,
    is proportional to max(0, 1 - |j + 1/2 - x|) inside the part, and 0 outside.
    """
    pixel = torch.arange(size, device=start.device)
    start, length = start[:, None, None], length[:, None, None]
    # Differences in whole numbers, which are exact: positions in float32 would be off by up to 1e-5 pixels.
    distance = (size * (2 * (pixel - start) + 1) - length * (2 * pixel[:, None] + 1)).abs() / (2 * size)
    weights = (1 - distance).clamp(min=0) * ((pixel >= start) & (pixel < start + length))
    return weights / weights.sum(2, keepdim=True)


_MAKE: dict[str, Callable[[SplitInputs, int | None], Augmentation]] = {
    # The darkest value is what black, a 0 in the file, has become in normalised units: images are bordered with black
    # and then normalised in torchvision and open_lth; zeros in normalised units would make a grey border.
    "crop": lambda inputs, _: Crop(black=inputs.amin(dim=(0, 2, 3)) if isinstance(inputs, Tensor) else inputs.black),
    "cutout": lambda _, side: Cutout(side=side),
    "flip": lambda *_: Flip(),
    "resized-crop": lambda inputs, _: _part(inputs, ResizedCrop()),
    # In the study's code: datasets/imagenet.py of open_lth, and of its own branch datasets/tinyimagenet.py.
    "paper-resized-crop": lambda inputs, _: _part(inputs, ResizedCrop(area=(0.1, 1.0), aspect=(4 / 5, 5 / 4))),
}
assert _MAKE.keys() == AUGMENTATIONS.keys()


def _part(inputs: SplitInputs, crop: ResizedCrop) -> Augmentation:
    return CutParts(crop=crop) if isinstance(inputs, WholeImages) else crop


class Augmenter:
    """Augmentations by name, applied in order to batches of one training set.

    `begin` draws an epoch's numbers; calls then augment batches of that epoch.

    Args:
        names: names of `prunemark.recipes.AUGMENTATIONS`, "cutout:8" with a size.
        inputs: the training images (N, C, H, W). The black of "crop" is what lazy inputs say it is; of a tensor, the
            darkest value in each channel.

    Raises:
        ValueError: an unknown name; a resized crop of whole images after something that moves their pixels.
    """

    def __init__(self, names: Sequence[str], inputs: SplitInputs) -> None:
        sized = [split_size(name) for name in names]
        if names and len(inputs.shape) != 4:
            raise ValueError(f"augment changes images (N, C, H, W), not inputs {tuple(inputs.shape)}")
        height, width = inputs.shape[2:] if names else (0, 0)
        self.shape = len(inputs), height, width
        self.device = inputs.device
        self.augmentations = [_MAKE[name](inputs, size) for name, size in sized]
        self.draws: list[Tensor] = []
        for at, augmentation in enumerate(self.augmentations):
            # Whole images are cut first, whatever the order says; mirrored before or after makes no difference.
            if isinstance(augmentation, CutParts) and (earlier := [name for name in names[:at] if name != "flip"]):
                raise ValueError(f'"{names[at]}" cuts whole images, so it cannot come after "{earlier[0]}"')

    def begin(self, generator: torch.Generator) -> None:
        """Draw all random numbers of an epoch, one augmentation after the other."""
        self.draws = [augmentation.draw(*self.shape, generator).to(self.device) for augmentation in self.augmentations]

    def shown(self, inputs: SplitInputs) -> SplitInputs:
        """The inputs of the epoch, of which whole images show the parts that were drawn; others are as they were."""
        for augmentation, draws in zip(self.augmentations, self.draws, strict=True):
            if isinstance(augmentation, CutParts) and isinstance(inputs, WholeImages):
                inputs = inputs.showing(augmentation.part(draws))
        return inputs

    def __call__(self, images: Tensor, examples: Tensor) -> Tensor:
        """Augment images (B, C, H, W), which are the training examples of these numbers (B,)."""
        for augmentation, draws in zip(self.augmentations, self.draws, strict=True):
            images = augmentation.apply(images, draws[examples])
        return images

"""Augmentations of training images, by name. No torch."""

from prunemark.registry import unknown

AUGMENTATIONS: dict[str, str] = {
    "crop": "a window of the image's size, placed at random on the image with a black border of 4 pixels",
    "cutout": "a square of the mean colour over the image, placed at random; half the image's side, or N in cutout:N",
    "flip": "left and right exchanged, for every other image on average",
    "resized-crop": "a part of 8 to 100 % of the area, 3:4 to 4:3 in shape, scaled to the image's size",
    "paper-resized-crop": "the same of 10 to 100 % of the area, 4:5 to 5:4 in shape",
}
_SIZED = ("cutout",)


def split_size(name: str) -> tuple[str, int | None]:
    """("cutout", 8) of "cutout:8"; (NAME, None) of a name without a size.

    Raises:
        ValueError: an unknown name, or a size that is no whole number above 0 or of what has none.
    """
    base, colon, size = name.partition(":")
    if base not in AUGMENTATIONS:
        raise ValueError(unknown("augmentation", base, AUGMENTATIONS))
    if not colon:
        return base, None
    if base not in _SIZED:
        raise ValueError(f'augmentation "{base}" has no size, so it is not "{name}"; only {", ".join(_SIZED)} has')
    if not (size.isascii() and size.isdigit() and int(size)):
        raise ValueError(f'augmentation "{base}" takes a side in pixels, such as "{base}:8", not "{name}"')
    return base, int(size)


def augment_problems(names: tuple[str, ...]) -> list[str]:
    """What is wrong with a list of augmentations."""
    problems: list[str] = []
    bases: list[str] = []
    for name in names:
        try:
            bases.append(split_size(name)[0])
        except ValueError as error:
            problems.append(str(error))
    if len(set(bases)) < len(bases):
        problems.append(f"augment names each augmentation once, not {list(names)}")
    return problems

"""The networks of the study, built from a name: `NETWORKS` and `network`.

The table is read without importing torch, so that a study can be planned and checked without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, cast

from prunemark.networks.initialisation import BATCHNORMS, BIASES, INITS
from prunemark.own_code import OwnCode, is_own_code
from prunemark.plugins import Table
from prunemark.randomness import generator
from prunemark.registry import Entry, find, unknown

if TYPE_CHECKING:
    from torch import nn

    from prunemark.networks.base import Network

_CHOICES = {"init": INITS, "batchnorm": BATCHNORMS, "biases": BIASES}


@dataclass(frozen=True, kw_only=True)
class NetworkEntry(Entry):
    """One network of the table.

    Attributes:
        min_size: smallest side of an image in pixels.
        accepts: options of `network` beside these of the entry.
        version: raised when the network is changed, so that no result of what it was before is taken for its own.
    """

    min_size: int = 1
    accepts: tuple[str, ...] = ("init",)
    version: int = 1

    def check(self, input_shape: tuple[int, ...], classes: int, options: Mapping[str, Any] | None = None) -> None:
        """Check, without torch, that the network can be built for these inputs and options.

        Args:
            input_shape: channels, height and width of one input.
            classes: number of classes, at least 2.
            options: what else would be passed to `network`.

        Raises:
            ValueError: it cannot; the message lists every problem.
        """
        problems: list[str] = []
        sides: tuple[int, ...] = ()
        if not _is_shape(input_shape):
            problems.append(f"an input is (channels, height, width), all at least 1, not {input_shape!r}")
        else:
            sides = tuple(input_shape[1:])
        if sides and min(sides) < self.min_size:
            height, width = sides
            problems.append(f"images must be at least {self.min_size}x{self.min_size} pixels, not {height}x{width}")
        if not _is_whole(classes, least=2):
            problems.append(f"there must be at least 2 classes, not {classes!r}")
        for name, value in (options or {}).items():
            if name not in self.accepts:
                problems.append(unknown("option", name, self.accepts))
            elif name in _CHOICES and value not in _CHOICES[name]:
                problems.append(unknown(name, str(value), _CHOICES[name]))
            elif name == "width" and not (type(value) in (int, float) and math.isfinite(value) and value > 0):
                problems.append(f"width multiplies the number of channels or units and is above 0, not {value!r}")
            elif name == "patch" and not (type(value) is int and value > 0 and not any(s % value for s in sides)):
                problems.append(f"a patch is a whole number of pixels that divides the image's sides, not {value!r}")
        if problems:
            raise ValueError("; ".join(problems))


def _is_whole(number: object, *, least: int) -> bool:
    """True if it is a whole number, numpy's too, of at least `least`."""
    return not isinstance(number, bool) and isinstance(number, Integral) and int(number) >= least


def _is_shape(shape: object) -> bool:
    if not isinstance(shape, tuple | list):
        return False
    sides = cast("Sequence[object]", shape)
    return len(sides) == 3 and all(_is_whole(side, least=1) for side in sides)


def _cifar_resnet(depth: int) -> NetworkEntry:
    return NetworkEntry(
        target="prunemark.networks.resnet:CifarResNet",
        summary=f"{depth} layers, the CIFAR kind: 16, 32 and 64 channels",
        source="He et al. 2016, section 4.2",
        options={"depth": depth},
        min_size=4,
        accepts=("init", "batchnorm", "width"),
    )


def _imagenet_resnet(depth: int, summary: str, *, min_size: int, modified: bool = False) -> NetworkEntry:
    return NetworkEntry(
        target="prunemark.networks.resnet:ImageNetResNet",
        summary=f"{depth} layers, the ImageNet kind: {summary}",
        source="He et al. 2016",
        options={"depth": depth, "modified": modified},
        min_size=min_size,
        accepts=("init", "batchnorm", "width"),
    )


_OWN: dict[str, NetworkEntry] = {
    "lenet-300-100": NetworkEntry(
        target="prunemark.networks.lenet:LeNet",
        summary="fully connected, hidden layers of 300 and 100 units",
        source="LeCun et al. 1998",
        accepts=("init", "width"),
    ),
    "resnet-8": _cifar_resnet(8),
    "resnet-14": _cifar_resnet(14),
    "resnet-20": _cifar_resnet(20),
    "resnet-32": _cifar_resnet(32),
    "resnet-44": _cifar_resnet(44),
    "resnet-56": _cifar_resnet(56),
    "resnet-110": _cifar_resnet(110),
    "vgg-16": NetworkEntry(
        target="prunemark.networks.vgg:Vgg",
        summary="13 convolutions with BatchNorm, four max-pools, an average pool, one linear layer",
        source="Simonyan & Zisserman 2015; Frankle et al. 2021",
        options={"depth": 16},
        min_size=17,
        accepts=("init", "batchnorm", "biases", "width"),
        version=2,  # version 1 had a fifth max-pool in place of the average
    ),
    "resnet-18": _imagenet_resnet(18, "7x7 stem with max-pool", min_size=32),
    "resnet-18-modified": _imagenet_resnet(18, "3x3 stem without max-pool", min_size=8, modified=True),
    "resnet-50": _imagenet_resnet(50, "bottleneck blocks, 7x7 stem with max-pool", min_size=32),
    "vit-tiny": NetworkEntry(
        target="prunemark.networks.vit:VisionTransformer",
        summary="vision transformer, 12 blocks, 3 heads, 192 channels",
        source="Dosovitskiy et al. 2021; Touvron et al. 2021",
        options={"depth": 12, "heads": 3},
        accepts=("init", "width", "patch"),
    ),
}
NETWORKS = Table("prunemark.networks", "network", NetworkEntry, _OWN)
"""Ours by name, and those of other packages, see `prunemark.plugins`."""


def network(name: str, *, input_shape: tuple[int, ...], classes: int, seed: int = 0, **options: Any) -> nn.Module:
    """Build a network, with weights drawn for one replicate.

    Neither reads nor moves torch's global random state: everything is drawn from
    `generator(seed, "weights")`.

    Args:
        name: a name of `NETWORKS`, or "FILE.py:build", a function of yours that is called as
            build(input_shape=, classes=, **options) with torch's global generator seeded.
        input_shape: shape of one input; of the networks of the table, channels, height and width.
        classes: number of classes.
        seed: the replicate's seed.
        options: `init` and, by network, `batchnorm` and `biases` (see `Initialisation`), `width` (multiplies the
            number of channels or units) and `patch` (pixels of the side of a transformer's patch).

    Returns:
        The network; those of the table on the CPU, in train mode, with contiguous float32 weights.

    Raises:
        ValueError: unknown name or option, inputs the network cannot take, or a function that is not there or returns
            no module.

    Examples:
        >>> network = pm.network("resnet-8", input_shape=(1, 8, 8), classes=10, seed=0)
        >>> pm.prune(network, "synflow", sparsity=0.9, input_shape=(1, 8, 8), rounds=5).total
        77072
    """
    if is_own_code(name):
        from prunemark.networks.own import own_network

        return own_network(OwnCode.find(name), input_shape=input_shape, classes=classes, seed=seed, **options)
    entry = find(NETWORKS, "network", name)
    try:
        entry.check(input_shape, classes, options)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None

    import torch

    # Constructors of torch.nn draw from the global generator; on the meta device they draw nothing.
    with torch.device("meta"):
        model: Network = entry.load()(input_shape=input_shape, classes=classes, **entry.options, **options)
    model.to_empty(device="cpu")
    model.initialize_(generator(seed, "weights"))
    return model

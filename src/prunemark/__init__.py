"""prunemark: does a way of pruning a neural network early in training hit the mark?

Everything public is an attribute of this package and is imported on first use, so that `import prunemark`
and the command line start without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from prunemark.version import __version__ as __version__

if TYPE_CHECKING:
    from prunemark import methods as methods
    from prunemark.ablations import Certificate, CertificateError, reinitialize, shuffle
    from prunemark.connectivity import Topology, topology
    from prunemark.datasets import Dataset, dataset
    from prunemark.masks import Masks
    from prunemark.models.holding import HeldWarning, release
    from prunemark.models.left_out import LeftOutWarning
    from prunemark.networks import network
    from prunemark.pruning import prune, score
    from prunemark.pruning.selection import select
    from prunemark.pruning.unscored import UnscoredWarning
    from prunemark.recipes import Recipe
    from prunemark.study.exports import results
    from prunemark.study.judging import judge
    from prunemark.study.reporting import report
    from prunemark.study.run import run
    from prunemark.study.spec import Study
    from prunemark.training.on_dataset import train


_HOMES = {
    "Certificate": "ablations",
    "CertificateError": "ablations",
    "Dataset": "datasets",
    "HeldWarning": "models.holding",
    "LeftOutWarning": "models.left_out",
    "Masks": "masks",
    "Recipe": "recipes",
    "Study": "study.spec",
    "Topology": "connectivity",
    "UnscoredWarning": "pruning.unscored",
    "dataset": "datasets",
    "judge": "study.judging",
    "network": "networks",
    "prune": "pruning",
    "reinitialize": "ablations",
    "release": "models.holding",
    "report": "study.reporting",
    "results": "study.exports",
    "run": "study.run",
    "score": "pruning",
    "select": "pruning.selection",
    "shuffle": "ablations",
    "topology": "connectivity",
    "train": "training.on_dataset",
}

__all__ = [
    "Certificate",
    "CertificateError",
    "Dataset",
    "HeldWarning",
    "LeftOutWarning",
    "Masks",
    "Recipe",
    "Study",
    "Topology",
    "UnscoredWarning",
    "dataset",
    "judge",
    "methods",
    "network",
    "prune",
    "reinitialize",
    "release",
    "report",
    "results",
    "run",
    "score",
    "select",
    "shuffle",
    "topology",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "methods":
        return importlib.import_module("prunemark.methods")
    if name not in _HOMES:
        raise AttributeError(f"module 'prunemark' has no attribute {name!r}")
    # Bound here, so that the next access is a plain look-up.
    value = getattr(importlib.import_module(f"prunemark.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

"""A package of somebody else that adds a method, a network and a data set: as it is when it is installed."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ENTRIES = """
from prunemark.datasets import DatasetEntry
from prunemark.methods import MethodEntry
from prunemark.networks import NetworkEntry

ENTRY = MethodEntry(target="{module}.code:Power", summary="|w| in two rounds", rounds=2, needs_data=False)
LOST = MethodEntry(target="nowhere:score", summary="")
FUNCTION = MethodEntry(target="{module}.code:stripes", summary="")
METHOD = type("Method", (), {{}})
NETWORK = NetworkEntry(target="{module}.code:OneLayer", summary="a linear map", source="nobody")
DATA = DatasetEntry(
    target="{module}.code:stripes", summary="two kinds of stripes", input_shape=(1, 4, 4), classes=2,
    train_examples=40, test_examples=10,
)
"""
CODE = """
from dataclasses import dataclass

import torch
from prunemark.datasets import Dataset, Split
from prunemark.methods import Method
from torch import nn

@dataclass(frozen=True, kw_only=True)
class Power(Method):
    rounds: int = 2
    power: float = 1.0

    def __call__(self, problem):
        return {name: weight.detach().abs() ** self.power for name, weight in problem.weights.items()}

class OneLayer(nn.Module):
    def __init__(self, *, input_shape, classes):
        super().__init__()
        self.first, self.last = nn.Linear(16, 6), nn.Linear(6, classes)

    def forward(self, x):
        return self.last(torch.relu(self.first(x.flatten(1))))

    def initialize_(self, generator):
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

def split(count):
    targets = torch.arange(count) % 2
    rows = torch.linspace(-1, 1, 4).expand(count, 1, 4, 4)
    return Split(inputs=torch.where(targets.view(-1, 1, 1, 1) == 1, rows, rows.mT).contiguous(), targets=targets)

def stripes(data_dir=None):
    return Dataset(name="stripes", train=split(40), test=split(10), class_names=("up", "across"), fingerprint="s")
"""


@dataclass(frozen=True)
class Offer:
    """An installed package: its folder on the import path, its code, and its metadata."""

    site: Path
    code: Path
    info: Path

    @classmethod
    def install(
        cls, site: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, methods: dict[str, str] | None = None
    ) -> "Offer":
        """Install prunemark-NAME 1.2, with the method NAME unless others are given.

        Args:
            methods: name -> attribute of its module.
        """
        module = f"prunemark_{name}"
        made = cls(site, site / module, site / f"{module}-1.2.dist-info")
        made.code.mkdir(parents=True)
        made.info.mkdir()
        (made.code / "__init__.py").write_text(ENTRIES.format(module=module))
        (made.code / "code.py").write_text(CODE)
        groups = {"methods": {name: "ENTRY"}, "networks": {"one-layer": "NETWORK"}, "datasets": {"stripes": "DATA"}}
        if methods is not None:
            groups = {"methods": methods}
        lines = [
            line
            for group, entries in groups.items()
            for line in (f"[prunemark.{group}]", *(f"{key} = {module}:{value}" for key, value in entries.items()))
        ]
        (made.info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        made.release("1.2")
        for imported in (module, f"{module}.code"):
            monkeypatch.delitem(sys.modules, imported, raising=False)
        monkeypatch.syspath_prepend(str(site))
        return made

    def release(self, version: str) -> None:
        """Make it that version."""
        name = self.code.name.replace("_", "-")
        (self.info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

"""The table of counts per layer reduced to what charts show: one `KeptLayers` per method, ablation and sparsity."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunemark.reports import curves
from prunemark.stats.cells import Cell, cell_of
from prunemark.terms.ablations import ABLATIONS, UNMODIFIED

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class KeptLayers:
    """Weights and units that the masks of one cell keep, over its replicates.

    `densities` maps each layer, in the network's order, to the mean percentage of its weights that is kept. `units`
    counts the units of all layers and replicates by their kept inputs. By replicate: `dead` is the percentage of units
    that keep no input; `on_path` that of kept weights that lie on a path from input to output, and `off_path` that of
    units on none, both empty where paths were not followed.
    """

    cell: Cell
    densities: Mapping[str, float]
    units: Mapping[int, int]
    dead: Mapping[int, float]
    on_path: Mapping[int, float]
    off_path: Mapping[int, float]

    @property
    def series(self) -> str:
        """The benchmark's name, or else the method's."""
        return self.cell.benchmark or self.cell.method

    def at_most(self, inputs: int) -> float:
        """The percentage of units that keep at most that many inputs."""
        few = sum(units for kept, units in self.units.items() if kept <= inputs)
        return 100 * few / sum(self.units.values())


def kept_layers(layers: "DataFrame") -> list[KeptLayers]:
    """One `KeptLayers` per cell of the earliest step and of benchmarks, in the table's order (see `write_report`)."""
    cells: dict[tuple[Any, ...], _Sums] = {}
    names = ("method", "sparsity", "prune_at", "ablation", "benchmark")
    counted = ("replicate", "layer", "kept", "total", "units_by_kept_inputs", "effective", "dead_units", "units")
    # Row by row from the columns: a large study has millions.
    columns = [layers[name] if name in layers else [None] * len(layers) for name in (*names, *counted)]
    for *place, replicate, layer, kept, total, units, effective, dead, all_units in zip(*columns, strict=True):
        sums = cells.get(key := tuple(place))
        if sums is None:
            sums = cells[key] = _Sums()
        sums.add(int(replicate), str(layer), kept, total, units, effective, dead, all_units)
    found = [
        sums.kept_layers(cell)
        for place, sums in cells.items()
        if (cell := cell_of(dict(zip(names, place, strict=True)))).ablation == UNMODIFIED
        or ABLATIONS[cell.ablation].own_mask
    ]
    return curves.earliest(found)


def repeated(shown: Sequence[KeptLayers]) -> list[str]:
    """The benchmarks that keep the very weights of one before them, as rewinding does: they have the same masks."""
    kept: dict[str, dict[float, tuple[Any, ...]]] = {}
    for one in shown:
        if one.cell.benchmark and one.cell.ablation == UNMODIFIED:
            numbers = (tuple(one.densities.items()), tuple(sorted(one.units.items())), dict(one.dead))
            kept.setdefault(one.cell.benchmark, {})[one.cell.sparsity] = numbers
    names = list(kept)
    return [name for at, name in enumerate(names) if any(kept[name] == kept[other] for other in names[:at])]


class _Sums:
    """Rows of the table of one cell, added up."""

    def __init__(self) -> None:
        self.shares: dict[str, tuple[float, int]] = {}
        self.units: Counter[int] = Counter()
        # By replicate: units that keep no input, and all of them; and parts with what they are of.
        self.dead: dict[int, tuple[int, int]] = {}
        self.on_path: dict[int, tuple[float, float]] = {}
        self.off_path: dict[int, tuple[float, float]] = {}

    def add(
        self,
        replicate: int,
        layer: str,
        kept: float,
        total: float,
        units: Mapping[int, int],
        effective: float | None,
        dead: float | None,
        all_units: float | None,
    ) -> None:
        name = layer.removesuffix(".weight")
        share, count = self.shares.get(name, (0.0, 0))
        self.shares[name] = share + 100 * float(kept) / float(total), count + 1
        for inputs, number in units.items():
            self.units[inputs] += number
        none, every = self.dead.get(replicate, (0, 0))
        self.dead[replicate] = none + units.get(0, 0), every + sum(units.values())
        for sums, part, whole in ((self.on_path, effective, kept), (self.off_path, dead, all_units)):
            # A column that holds None in some rows comes with NaN or None.
            a, b = (math.nan if value is None else float(value) for value in (part, whole))
            before = sums.get(replicate, (0.0, 0.0))
            sums[replicate] = before[0] + a, before[1] + b

    def kept_layers(self, cell: Cell) -> KeptLayers:
        return KeptLayers(
            cell=cell,
            densities={name: share / count for name, (share, count) in self.shares.items()},
            units=self.units,
            dead={r: 100 * none / every for r, (none, every) in self.dead.items() if every},
            on_path=_percent(self.on_path),
            off_path=_percent(self.off_path),
        )


def _percent(sums: Mapping[int, tuple[float, float]]) -> dict[int, float]:
    """Percentage that a count is of another, over all layers, by replicate; none where a layer lacks it."""
    return {r: 100 * a / b for r, (a, b) in sums.items() if math.isfinite(a) and b > 0}

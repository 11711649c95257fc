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
    rows: list[dict[str, Any]] = layers.to_dict("records")
    cells: dict[Cell, list[dict[str, Any]]] = {}
    for row in rows:
        cell = cell_of(row)
        if cell.ablation == UNMODIFIED or ABLATIONS[cell.ablation].own_mask:
            cells.setdefault(cell, []).append(row)
    return curves.earliest([_kept_layers(cell, group) for cell, group in cells.items()])


def repeated(shown: Sequence[KeptLayers]) -> list[str]:
    """The benchmarks that keep the very weights of one before them, as rewinding does: they have the same masks."""
    kept: dict[str, dict[float, tuple[Any, ...]]] = {}
    for one in shown:
        if one.cell.benchmark and one.cell.ablation == UNMODIFIED:
            numbers = (tuple(one.densities.items()), tuple(sorted(one.units.items())), dict(one.dead))
            kept.setdefault(one.cell.benchmark, {})[one.cell.sparsity] = numbers
    names = list(kept)
    return [name for at, name in enumerate(names) if any(kept[name] == kept[other] for other in names[:at])]


def _kept_layers(cell: Cell, rows: Sequence[Mapping[str, Any]]) -> KeptLayers:
    shares: dict[str, list[float]] = {}
    by_replicate: dict[int, Counter[int]] = {}
    for row in rows:
        name = str(row["layer"]).removesuffix(".weight")
        shares.setdefault(name, []).append(100 * float(row["kept"]) / float(row["total"]))
        counts = by_replicate.setdefault(int(row["replicate"]), Counter())
        for kept, units in row["units_by_kept_inputs"].items():
            counts[int(kept)] += int(units)
    return KeptLayers(
        cell=cell,
        densities={name: math.fsum(values) / len(values) for name, values in shares.items()},
        units=sum(by_replicate.values(), Counter[int]()),
        dead={r: 100 * counts[0] / counts.total() for r, counts in by_replicate.items() if counts.total()},
        on_path=_shares(rows, "effective", "kept"),
        off_path=_shares(rows, "dead_units", "units"),
    )


def _shares(rows: Sequence[Mapping[str, Any]], part: str, whole: str) -> dict[int, float]:
    """Percentage that a count is of another, over all layers, by replicate; none where a layer lacks it."""
    sums: dict[int, tuple[float, float]] = {}
    for row in rows:
        # A column that holds None in some rows comes with NaN or None.
        a, b = (math.nan if row.get(name) is None else float(row[name]) for name in (part, whole))
        before = sums.get(int(row["replicate"]), (0.0, 0.0))
        sums[int(row["replicate"])] = before[0] + a, before[1] + b
    return {r: 100 * a / b for r, (a, b) in sums.items() if math.isfinite(a) and b > 0}

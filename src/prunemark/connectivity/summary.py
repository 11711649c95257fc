"""Findings for a whole subnetwork: `Topology`, its table and its frames."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prunemark.connectivity.layers import LayerTopology
from prunemark.masks import Masks
from prunemark.terms.html import html_table

if TYPE_CHECKING:
    import altair as alt
    from pandas import DataFrame

# The width that `print` keeps to.
COLUMNS = 100


@dataclass(frozen=True, kw_only=True, repr=False)
class Topology:
    """Wiring of a subnetwork; made by `topology`. `print` shows it as a table.

    FLOPs are multiply-adds for one example, each counted as one. What needs a run of the model is None where there was
    none (neither `input_shape=` nor `data=` was given).

    Attributes:
        model: the class of the model.
        layers: one record per masked weight, in the order of the masks.
        inputs, inputs_used: elements of one example, and those with a path to the output.
        outputs, outputs_reached: elements of the output for one example, and those with a path from the input.
        effective_masks: True where a weight is kept and on a path from input to output.
        flops_other: of products that no mask touches: attention scores, weights left out of the masks.

    Examples:
        >>> topology = pm.topology(model, masks, input_shape=(1, 8, 8))
        >>> topology.collapsed, topology.cut
        ((), False)
        >>> topology.to_frame()[["layer", "kept"]].shape
        (2, 2)
    """

    model: str
    layers: tuple[LayerTopology, ...]
    inputs: int | None
    inputs_used: int | None
    outputs: int | None
    outputs_reached: int | None
    flops_other: int | None
    effective_masks: Masks | None = field(compare=False)

    @property
    def total(self) -> int:
        """Number of masked weights, pruned and kept."""
        return sum(layer.total for layer in self.layers)

    @property
    def kept(self) -> int:
        """Number of kept weights."""
        return sum(layer.kept for layer in self.layers)

    @property
    def effective(self) -> int | None:
        """Number of kept weights on a path from input to output."""
        return _total([layer.effective for layer in self.layers])

    @property
    def sparsity(self) -> float:
        """1 - kept / total, in [0, 1]."""
        return 1 - self.kept / self.total

    @property
    def effective_sparsity(self) -> float | None:
        """1 - effective / total, in [0, 1], never less than `sparsity`."""
        return None if self.effective is None else 1 - self.effective / self.total

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Layers of which every weight is pruned."""
        return tuple(layer.name for layer in self.layers if layer.collapsed)

    @property
    def disconnected(self) -> tuple[str, ...] | None:
        """Layers that keep weights, but none on a path from input to output."""
        if self.effective is None:
            return None
        return tuple(layer.name for layer in self.layers if layer.disconnected)

    @property
    def cut(self) -> bool | None:
        """True if no path at all leads from input to output, so that every output is a constant."""
        return None if self.outputs_reached is None else self.outputs_reached == 0

    @property
    def flops_dense(self) -> int | None:
        """FLOPs of one forward pass with all weights, `flops_other` included."""
        return _total([*(layer.flops_dense for layer in self.layers), self.flops_other])

    @property
    def flops_sparse(self) -> int | None:
        """FLOPs of one forward pass with the kept weights, `flops_other` included."""
        return _total([*(layer.flops_sparse for layer in self.layers), self.flops_other])

    @property
    def flops_effective(self) -> int | None:
        """FLOPs of one forward pass with the effective weights, `flops_other` included."""
        return _total([*(layer.flops_effective for layer in self.layers), self.flops_other])

    @property
    def findings(self) -> tuple[str, ...]:
        """Findings in sentences: what is kept, what is cut, what is dead, what it costs."""
        kept = f"{self.kept:,} of {self.total:,} weights are kept (sparsity {_sparsity(self.sparsity)})"
        if self.effective is None or self.effective_sparsity is None:
            return (
                f"{kept}.",
                *self._collapse(),
                "Pass input_shape= or data= for effective sparsity, unread units and FLOPs.",
            )
        on_paths = (
            "each on a path from input to output"
            if self.effective == self.kept
            else f"{self.effective:,} of them on a path from input to output (effective sparsity "
            f"{_sparsity(self.effective_sparsity)})"
        )
        return (f"{kept}, {on_paths}.", *self._collapse(), *self._dead_ends(), self._cost())

    def _collapse(self) -> list[str]:
        found: list[str] = []
        collapsed = [layer for layer in self.layers if layer.collapsed]
        if collapsed:
            found.append(f"Layer collapse: {_labels(collapsed)} {_be(len(collapsed))} fully pruned.")
        disconnected = [layer for layer in self.layers if layer.disconnected]
        if disconnected:
            found.append(
                f"{_labels(disconnected)} {_keep(len(disconnected))} weights, but none on a path from input to output."
            )
        if self.cut:
            found.append("The network is cut: no output depends on the input, and no training can mend that.")
        elif self.cut is None:
            found += [] if found else ["No layer is fully pruned."]
        elif found:
            found.append("The network is still connected: other paths bypass these layers.")
        else:
            found.append("No layer is cut off.")
        return found

    def _dead_ends(self) -> list[str]:
        found: list[str] = []
        if self.cut or not self.outputs or self.outputs_reached is None or self.inputs_used is None:
            return found
        constant = self.outputs - self.outputs_reached
        if constant:
            found.append(f"{constant:,} of {self.outputs:,} outputs {_have(constant)} no path from the input.")
        unused = (self.inputs or 0) - self.inputs_used
        if unused:
            found.append(f"{unused:,} of {self.inputs:,} input values {_have(unused)} no path to the output.")
        for layer in self.layers:
            if layer.heads and layer.heads_off_path:
                dead = layer.heads_off_path
                says = (
                    "passes nothing on: no path leads through its"
                    if dead == 1
                    else "pass nothing on: no path leads through their"
                )
                found.append(f"{dead} of {layer.heads} attention heads of {layer.label} {says} values.")
        return found

    def _cost(self) -> str:
        assert self.flops_dense is not None
        assert self.flops_sparse is not None
        other = f", {_mega(self.flops_other)} of them not in masked layers" if self.flops_other else ""
        return (
            f"One example takes {_mega(self.flops_sparse)} MFLOPs of the dense network's {_mega(self.flops_dense)} "
            f"(multiply-adds{other})."
        )

    def __repr__(self) -> str:
        effective = "" if self.effective_sparsity is None else f", effective sparsity {self.effective_sparsity:.4%}"
        return f"Topology({self.model}, {len(self.layers)} layers, sparsity {self.sparsity:.4%}{effective})"

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        widths[0] = min(widths[0], max(12, COLUMNS - sum(widths[1:]) - 2 * (len(widths) - 1)))
        header, *rows, totals = (_line(row, widths) for row in table)
        rule = "-" * len(header)
        text = [textwrap.fill(sentence, COLUMNS, subsequent_indent="  ") for sentence in self.findings]
        return "\n".join([header, rule, *rows, rule, totals, "", *text])

    def _repr_html_(self) -> str:
        header, *rows = self._table()
        return html_table(header, rows, notes=self.findings)

    def _table(self) -> list[list[str]]:
        """Header, a row a layer, totals."""
        table = [_HEADER, *(_row(layer) for layer in self.layers), self._totals()]
        if self.effective is None:
            return [[row[column] for column in _WITHOUT_A_RUN] for row in table]
        return table

    def _totals(self) -> list[str]:
        return [
            "total",
            f"{self.total:,}",
            _percent(self.kept / self.total),
            _percent(None if self.effective is None else self.effective / self.total),
            _count(sum(layer.units_without_input for layer in self.layers)),
            _count(_total([layer.units_without_output for layer in self.layers])),
            _count(_total([layer.units_off_path for layer in self.layers])),
            _mega(self.flops_sparse),
            _mega(self.flops_dense),
        ]

    def to_frame(self) -> "DataFrame":
        """One row per layer; what is not known is NA.

        Columns: layer, kind, shape (such as "64x3x3x3"), total, kept, density, effective, effective_density, units,
        units_without_input, units_without_output, units_off_path, heads, heads_off_path, inputs_per_unit,
        kept_inputs_min, kept_inputs_median, kept_inputs_max, flops_dense, flops_sparse, flops_effective.
        """
        from pandas import DataFrame

        frame = DataFrame([_record(layer) for layer in self.layers])
        counts = [name for name in frame if name not in ("layer", "kind", "shape", *_FRACTIONS)]
        return frame.astype(dict.fromkeys(counts, "Int64") | dict.fromkeys(_FRACTIONS, "Float64"))

    def units_frame(self) -> "DataFrame":
        """One row per unit, for distributions: layer, unit, inputs, kept_inputs, is_read, on_path (NA if not known)."""
        from pandas import DataFrame

        rows = [
            {
                "layer": layer.name,
                "unit": unit,
                "inputs": layer.inputs_per_unit,
                "kept_inputs": kept,
                "is_read": None if layer.unit_is_read is None else layer.unit_is_read[unit],
                "on_path": None if layer.unit_on_path is None else layer.unit_on_path[unit],
            }
            for layer in self.layers
            for unit, kept in enumerate(layer.kept_inputs)
        ]
        return DataFrame(rows).astype({"is_read": "boolean", "on_path": "boolean"})

    def chart(self, *, limit: float | None = None) -> "alt.LayerChart | alt.FacetChart":
        """Kept and effective density of every layer, as an Altair chart; `.save("x.png")` writes it.

        Args:
            limit: end of the axis in percent, such as 100 for charts that are to be compared; None = a round number
                above the highest density.
        """
        from prunemark.reports.topology_chart import density_chart

        return density_chart(self, limit=limit)


_HEADER = ["layer", "shape", "density", "effective", "no in", "no out", "off path", "MFLOPs", "of"]
_WITHOUT_A_RUN = (0, 1, 2, 4)
_FRACTIONS = ("density", "effective_density", "kept_inputs_median")


def _record(layer: LayerTopology) -> dict[str, object]:
    ranked = sorted(layer.kept_inputs)
    middle = len(ranked) // 2
    return {
        "layer": layer.name,
        "kind": layer.kind,
        "shape": "x".join(map(str, layer.shape)),
        "total": layer.total,
        "kept": layer.kept,
        "density": layer.density,
        "effective": layer.effective,
        "effective_density": layer.effective_density,
        "units": layer.units,
        "units_without_input": layer.units_without_input,
        "units_without_output": layer.units_without_output,
        "units_off_path": layer.units_off_path,
        "heads": layer.heads,
        "heads_off_path": layer.heads_off_path,
        "inputs_per_unit": layer.inputs_per_unit,
        "kept_inputs_min": ranked[0],
        "kept_inputs_median": (ranked[middle] + ranked[~middle]) / 2,
        "kept_inputs_max": ranked[-1],
        "flops_dense": layer.flops_dense,
        "flops_sparse": layer.flops_sparse,
        "flops_effective": layer.flops_effective,
    }


def _row(layer: LayerTopology) -> list[str]:
    return [
        layer.label,
        "x".join(map(str, layer.shape)),
        _percent(layer.density),
        _percent(layer.effective_density),
        _count(layer.units_without_input),
        _count(layer.units_without_output),
        _count(layer.units_off_path),
        _mega(layer.flops_sparse),
        _mega(layer.flops_dense),
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, room = cells[0], widths[0]
    if len(first) > room:
        # The end of a name tells layers apart better than its middle.
        head = room // 3
        first = f"{first[:head]}…{first[len(first) - (room - head - 1) :]}"
    return "  ".join(
        [first.ljust(room), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
    )


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}" if count else "-"


def _mega(flops: int | None) -> str:
    if not flops:
        return "?" if flops is None else "0"
    mega = flops / 1e6
    if mega < 0.001:
        return "<0.001"
    return f"{mega:,.3f}" if mega < 10 else f"{mega:,.1f}"


def _percent(fraction: float | None) -> str:
    if fraction is None:
        return "?"
    return "100%" if fraction == 1 else "0%" if fraction == 0 else f"{100 * fraction:#.3g}%".replace(".%", "%")


def _sparsity(fraction: float) -> str:
    """In percent, with more digits the closer it is to 100 %."""
    return f"{100 * fraction:.{2 if fraction < 0.99 else 3 if fraction < 0.999 else 4}f}%"


def _labels(layers: Sequence[LayerTopology], shown: int = 4) -> str:
    labels = [layer.label for layer in layers]
    if len(labels) > shown + 1:
        return f"{', '.join(labels[:shown])} and {len(labels) - shown} more layers"
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _keep(count: int) -> str:
    return "keeps" if count == 1 else "keep"

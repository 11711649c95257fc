"""Findings for one layer: `LayerTopology`."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from prunemark.connectivity.probe import Findings
from prunemark.models.prunable import module_of

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True)
class LayerTopology:
    """One weight tensor of a subnetwork.

    A unit is what one row of the weight computes: an output channel, a neuron, a row of an attention projection, a
    gate of a recurrent layer, a column of an embedding. Its inputs are the weights into it. FLOPs are multiply-adds
    for one example, each counted as one. What needs a run of the model is None where there was none.

    Attributes:
        name: of the parameter.
        kind: the class of the module it belongs to.
        shape: of the weight.
        total, kept, effective: numbers of weights: all, kept, kept and on a path from input to output.
        inputs_per_unit: how many weights lead into each unit, pruned ones included.
        kept_inputs: per unit, how many of these are kept.
        unit_is_read: per unit, whether anything reads it: a kept weight, or the output itself. None also where the
            model uses the weight transposed, so that its units cannot be told.
        unit_on_path: per unit, whether it is on a path from input to output.
        heads, heads_off_path: attention heads of an `nn.MultiheadAttention`, and those with no path through their
            values; None elsewhere.
        flops_dense, flops_sparse, flops_effective: with all, kept, effective weights. Products with padding count.
            A product with a weight that is computed from several (W + B @ A) counts for the first of them, by what is
            not 0 in it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    total: int
    kept: int
    effective: int | None
    inputs_per_unit: int
    kept_inputs: tuple[int, ...]
    unit_is_read: tuple[bool, ...] | None
    unit_on_path: tuple[bool, ...] | None
    heads: int | None
    heads_off_path: int | None
    flops_dense: int | None
    flops_sparse: int | None
    flops_effective: int | None

    @property
    def label(self) -> str:
        """The name without what every weight is called."""
        return self.name.removesuffix(".weight").removesuffix("_weight")

    @property
    def density(self) -> float:
        """kept / total, in [0, 1]."""
        return self.kept / self.total

    @property
    def effective_density(self) -> float | None:
        """effective / total, in [0, 1]."""
        return None if self.effective is None else self.effective / self.total

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self.kept_inputs)

    @property
    def units_without_input(self) -> int:
        """Units that no kept weight leads into."""
        return sum(count == 0 for count in self.kept_inputs)

    @property
    def units_without_output(self) -> int | None:
        """Units that nothing reads: every weight that would is pruned."""
        return None if self.unit_is_read is None else self.unit_is_read.count(False)

    @property
    def units_off_path(self) -> int | None:
        """Units on no path from input to output."""
        return None if self.unit_on_path is None else self.unit_on_path.count(False)

    @property
    def collapsed(self) -> bool:
        """True if every weight of the layer is pruned."""
        return self.kept == 0

    @property
    def disconnected(self) -> bool | None:
        """True if the layer keeps weights, but none on a path from input to output."""
        return None if self.effective is None else self.kept > 0 and self.effective == 0


def layer_topology(model: nn.Module, name: str, mask: Tensor, findings: Findings | None) -> LayerTopology:
    """Everything about one layer.

    Args:
        model: the model, unwrapped.
        name: of the masked parameter.
        mask: True = kept.
        findings: of a run on Signals, if there was one.
    """
    module, _ = module_of(model, name)
    by_unit = _by_unit(module, mask)
    kept = int(mask.sum())
    layer: dict[str, Any] = {
        "name": name,
        "kind": type(module).__name__,
        "shape": tuple(mask.shape),
        "total": mask.numel(),
        "kept": kept,
        "inputs_per_unit": by_unit.shape[1],
        "kept_inputs": tuple(by_unit.sum(1).tolist()),
    }
    if findings is None:
        unknown = ("effective", "unit_is_read", "unit_on_path", "heads", "heads_off_path")
        counts = ("flops_dense", "flops_sparse", "flops_effective")
        return LayerTopology(**layer, **dict.fromkeys((*unknown, *counts)))
    effective = findings.effective[name]
    on_path = _by_unit(module, effective).any(1)
    # Of an embedding, units are columns, and nothing notes who reads them.
    read = None if isinstance(module, nn.Embedding) else findings.read.get(name)
    flops = findings.flops[name]
    heads = _head_rows(module, name, on_path)
    return LayerTopology(
        **layer,
        effective=int(effective.sum()),
        unit_is_read=tuple(read.tolist()) if read is not None and len(read) == len(by_unit) else None,
        unit_on_path=tuple(on_path.tolist()),
        heads=None if heads is None else len(heads),
        heads_off_path=None if heads is None else int((~heads.any(1)).sum()),
        flops_dense=flops.dense,
        flops_sparse=flops.sparse,
        flops_effective=flops.effective,
    )


def _by_unit(module: nn.Module, weight: Tensor) -> Tensor:
    """A weight (or its mask) as (units, weights into each)."""
    if isinstance(module, nn.Embedding):
        return weight.T
    if isinstance(module, _TRANSPOSED):
        inputs, outputs, *kernel = weight.shape
        groups = module.groups
        grouped = weight.reshape(groups, inputs // groups, outputs, math.prod(kernel))
        return grouped.transpose(1, 2).reshape(groups * outputs, -1)
    return weight.reshape(len(weight), -1)


def _head_rows(module: nn.Module, name: str, on_path: Tensor) -> Tensor | None:
    """Units of the weight that holds an attention's value projection, as (heads, units per head)."""
    if not isinstance(module, nn.MultiheadAttention) or not name.endswith(("in_proj_weight", "v_proj_weight")):
        return None
    return on_path[-module.embed_dim :].reshape(module.num_heads, -1)

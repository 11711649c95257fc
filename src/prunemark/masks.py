"""`Masks`: the one mask object. True = kept."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import prune as torch_prune

from prunemark.artifacts import Format, Place, Written, plain_copies, read_artifact, write_artifact
from prunemark.models.holding import Hold, holds_on
from prunemark.models.left_out import LeftOut, named, share_words
from prunemark.models.prunable import (
    masked_parameters,
    parameters_by_name,
    parameters_of,
    plain_name,
    prunable,
    torch_prune_masks,
    unwrap,
    weights_in_use,
)
from prunemark.models.torch_sparse import compressed
from prunemark.models.zeroing import kept_bits, zero_pruned_
from prunemark.terms.html import html_table

_FORMAT = Format("masks", "prunemark.masks/1")
_HEADER = ("layer", "shape", "kept", "of", "density")


class MaskError(ValueError):
    """A pruned weight is not zero."""


@dataclass(frozen=True, kw_only=True)
class LayerCount:
    """Exact counts of one layer's mask."""

    name: str
    shape: tuple[int, ...]
    kept: int
    total: int

    @property
    def density(self) -> float:
        """kept / total."""
        return self.kept / self.total


class Masks(Mapping[str, Tensor]):
    """Kept weights of a network: parameter name -> boolean tensor of the parameter's shape.

    A mapping that does not change: the tensors are held, not copied, so give it clones of what is written to later.
    `provenance` is a JSON-able record of where it comes from (method,
    options, seed, data fingerprint, versions, certificates) and travels with `save` and `load`.

    Raises:
        ValueError: no masks at all, or a mask that is not boolean.

    Examples:
        >>> handle = masks.hold(model, optimizer)  # pruned weights are 0, and stay so
        >>> masks.verify(model)
        >>> _ = masks.save("masks.safetensors")
        >>> pm.Masks.load("masks.safetensors") == masks
        True
    """

    def __init__(self, masks: Mapping[str, Tensor], *, provenance: Mapping[str, Any] | None = None) -> None:
        if not masks:
            raise ValueError("Masks needs at least one layer")
        for name, mask in masks.items():
            if not isinstance(mask, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"masks are boolean tensors, True = kept; {name} is a {type(mask).__name__}")
            if mask.dtype != torch.bool:
                raise ValueError(f"masks are boolean, True = kept; {name} has dtype {mask.dtype}")
        self._masks = dict(masks)
        self._counts = {name: _count(mask) for name, mask in self._masks.items()}
        self.provenance: dict[str, Any] = dict(provenance or {})

    @classmethod
    def ones(cls, weights: Mapping[str, Tensor]) -> Self:
        """Masks that keep everything, for weights (or scores) of these names and shapes."""
        return cls({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(self[name], other[name]) for name in self)

    __hash__ = None  # equal by content, and the content is large

    @property
    def total(self) -> int:
        """Number of prunable weights."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def kept(self) -> int:
        """Number of kept weights."""
        return sum(self._counts.values())

    @property
    def density(self) -> float:
        """kept / total, in [0, 1]."""
        return self.kept / self.total

    @property
    def sparsity(self) -> float:
        """pruned / total, in [0, 1]."""
        return 1 - self.density

    @property
    def unscored(self) -> int:
        """Number of kept weights about which the method said nothing, so that position decided.

        From `provenance["unscored"]`, layer -> count, which `prune` writes; see `prunemark.pruning.unscored`. Of masks
        that were shuffled, what it was before.
        """
        return sum(self.provenance.get("unscored", {}).values())

    @property
    def parameters(self) -> int | None:
        """Number of all parameters of the network, from `provenance["parameters"]`; None where it is not known."""
        count = self.provenance.get("parameters")
        return count if isinstance(count, int) else None

    @property
    def left_out(self) -> tuple[LeftOut, ...] | None:
        """Tensors with two or more axes that are neither prunable nor a normalisation's nor an embedding's.

        From `provenance["left_out"]`, name -> shape, which `prune` writes; None where it is not known, as of masks that
        were made by hand.
        """
        shapes = self.provenance.get("left_out")
        if not isinstance(shapes, Mapping):
            return None
        return tuple(LeftOut(name=name, shape=tuple(shape)) for name, shape in shapes.items())

    def layers(self) -> list[LayerCount]:
        """Exact counts of every layer, in the order of the network."""
        return [
            LayerCount(name=name, shape=tuple(mask.shape), kept=self._counts[name], total=mask.numel())
            for name, mask in self._masks.items()
        ]

    def __repr__(self) -> str:
        return f"Masks({self.kept:,} of {self.total:,} kept, sparsity {self.sparsity:.4%}, {len(self)} layers)"

    def __str__(self) -> str:
        rows = [_HEADER, *self._rows()]
        name, shape = (max(len(row[column]) for row in rows) for column in (0, 1))
        lines: list[str] = []
        for layer, size, kept, total, density in rows:
            note = "  all pruned" if kept == "0" else ""
            lines.append(f"{layer:<{name}}  {size:>{shape}}  {kept:>12}  {total:>12}  {density:>8}{note}")
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(_HEADER, self._rows(), notes=self._notes())

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """A row a layer, and their total: name, shape, kept, of, density."""
        layers = [
            (count.name, "x".join(map(str, count.shape)), f"{count.kept:,}", f"{count.total:,}", f"{count.density:.2%}")
            for count in self.layers()
        ]
        return [*layers, ("total", "", f"{self.kept:,}", f"{self.total:,}", f"{self.density:.2%}")]

    def _notes(self) -> list[str]:
        notes: list[str] = []
        if self.parameters:
            notes.append(share_words(self.total, self.parameters))
        if self.left_out:
            notes.append(f"left out: {named(self.left_out)}")
        if self.unscored:
            notes.append(f"unscored: {self.unscored:,} kept weights scored exactly 0, and position decided among them")
        return notes

    def apply_(self, model: nn.Module) -> None:
        """Set the pruned weights of the model to exactly 0, in place.

        Raises:
            ValueError: the model lacks a masked parameter, or its shape differs.
        """
        with torch.no_grad():
            for name, weight in masked_parameters(model, self).items():
                if self._counts[name] < weight.numel():
                    zero_pruned_(weight, kept_bits(self[name].to(weight.device)))

    def verify(self, model: nn.Module) -> None:
        """Check that every pruned weight of the model is exactly 0, be it by `torch.nn.utils.prune`.

        Kept weights may be 0 too, as zero-initialised layers are, but not because other masks are in force.

        Raises:
            MaskError: a pruned weight is not 0 (names the layer, the index and the value), or the model is sparser
                than these masks: another hold, or `torch.nn.utils.prune`, prunes what they keep.
            ValueError: the model lacks a masked parameter, or its shape differs.
        """
        for name, weight in weights_in_use(model, self).items():
            wrong = (weight != 0) & ~self[name].to(weight.device)
            if wrong.any():
                index = tuple(int(i) for i in wrong.nonzero()[0])
                raise MaskError(
                    f"{name}{list(index)} is pruned but holds {weight[index].item():g} "
                    f"({int(wrong.sum()):,} such weights in this layer)"
                )
        own, parameters = parameters_of(model, self), parameters_by_name(model)
        for hold, shared in holds_on({name: parameters[own[name]] for name in self}):
            if count := hold.zeros_among(shared, self):
                raise MaskError(
                    f"the model is sparser than these masks: a hold of other masks keeps {count:,} of their "
                    f"{self.kept:,} kept weights at 0; hold these masks, or end the other hold (pm.release(model))"
                )
        pruned = torch_prune_masks(model, self)
        if count := sum(int((self[name].to(kept.device) & (kept == 0)).sum()) for name, kept in pruned.items()):
            raise MaskError(
                f"the model is sparser than these masks: torch.nn.utils.prune prunes {count:,} of their "
                f"{self.kept:,} kept weights"
            )

    def hold(self, model: nn.Module, *optimizers: torch.optim.Optimizer, allow_unstepped: bool = False) -> Hold:
        """Zero the pruned weights now and keep them at exactly 0 through every step of these optimizers.

        Gradients of pruned weights are zeroed as they accumulate, so that they count neither in
        gradient clipping nor in momentum; after each optimizer step, and after each `load_state_dict` of the
        model or a part of it, pruned weights are set to 0 again, whatever happened to them. State dict keys do not
        change. A copy of the model (`deepcopy`, pickle, an average of weights) starts out masked but is not held:
        hold it with its own optimizer.

        The hold lasts as long as the model, whether the handle is kept or not, and replaces an earlier one on the
        weights that both cover; `HeldWarning` says how many kept weights the earlier one has left at 0. To compare
        masks on one model, call `handle.remove()` or `pm.release(model)` before `load_state_dict(start)`: a model
        that is held comes out of it masked.

        Args:
            model: any module; a hold that fails leaves it and the optimizers as they were.
            optimizers: all that step masked weights; wrappers with an `.optimizer` inside, as accelerate's, are too.
            allow_unstepped: accept masked weights that require gradients and that none of the optimizers steps.

        Returns:
            A handle; `handle.remove()` releases the model, as does leaving it used as a context manager.

        Raises:
            ValueError: no optimizer is given, they do not step all masked weights that require gradients, or the
                masks are of another model.
        """
        return Hold(self, model, optimizers, allow_unstepped=allow_unstepped)

    def to_torch_prune(self, model: nn.Module) -> None:
        """Put the masks into the model with `torch.nn.utils.prune`, in place (`weight_orig`, `weight_mask`).

        Raises:
            ValueError: the masks are of another model; or a layer is never called as a module (the output
                projection of `nn.MultiheadAttention`), and `torch.nn.utils.prune` masks weights when their layer is.
        """
        weights = masked_parameters(model, self)
        names = {id(weight): name for name, weight in weights.items()}
        # All that share a tensor: masked in one of them only, it would stay dense in the others.
        owners = [
            (module, attribute, names[id(parameter)])
            for module in unwrap(model).modules()
            for attribute, parameter in module.named_parameters(recurse=False)
            if id(parameter) in names
        ]
        for module, _, name in owners:
            if isinstance(module, NonDynamicallyQuantizableLinear):
                raise ValueError(
                    f"torch.nn.utils.prune cannot mask {name}: nn.MultiheadAttention uses the weight without calling "
                    "its layer; use hold, or leave the layer out with exclude="
                )
        for module, attribute, name in owners:
            weight = weights[name]
            torch_prune.custom_from_mask(module, attribute, self[name].to(weight.device, weight.dtype))

    @classmethod
    def from_torch_prune(cls, model: nn.Module) -> Self:
        """The masks that `torch.nn.utils.prune` holds in a model; prunable layers it left alone are all kept.

        Raises:
            ValueError: no layer of the model is pruned by `torch.nn.utils.prune`.
        """
        masks: dict[str, Tensor] = {}
        seen: set[int] = set()
        inner = unwrap(model)
        for path, module in inner.named_modules():
            originals = dict(module.named_parameters(recurse=False))
            for buffer, mask in module.named_buffers(recurse=False):
                attribute = buffer.removesuffix("_mask")
                original = originals.get(f"{attribute}_orig")
                if buffer != attribute and original is not None and id(original) not in seen:
                    seen.add(id(original))
                    masks[plain_name(f"{path}.{attribute}" if path else attribute)] = mask.bool()
        if not masks:
            raise ValueError(f"no layer of this {type(inner).__name__} is pruned by torch.nn.utils.prune")
        try:
            untouched = prunable(inner, exclude=_is_computed)
        except ValueError:
            untouched = {}
        masks |= {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in untouched.items()}
        names = (name if name in masks else name.removesuffix("_orig") for name in parameters_by_name(inner))
        return cls({name: masks[name] for name in names if name in masks})

    def to_torch_sparse(self, model: nn.Module, *, layout: str = "csr") -> dict[str, Tensor]:
        """Copies of the masked weights as tensors of `torch.sparse`, for programs that compute with those.

        Args:
            model: the model that the masks are of; it is not changed.
            layout: "csr" or "coo".

        Returns:
            Parameter name -> sparse matrix of shape (outputs, product of the other axes) that stores exactly the kept
            entries, also those whose value is 0. `torch.sparse.mm(matrix, x.T).T + bias` is a linear map's output; a
            convolution's is that of `torch.nn.functional.unfold`.

        Raises:
            ValueError: the masks are of another model, or another layout.
        """
        return {name: compressed(weight, self[name], layout) for name, weight in masked_parameters(model, self).items()}

    def save(self, path: Place) -> Written:
        """Write the masks and their provenance as a safetensors file, whole or not at all.

        Returns:
            The file's digest and size.

        Raises:
            ValueError: the provenance is not JSON-able; its first entry that is not is named.
            OSError: there is no such folder, or it cannot be written to.
        """
        for key, value in self.provenance.items():
            try:
                json.dumps({key: value})
            except (TypeError, ValueError) as error:
                raise ValueError(f"provenance[{key!r}] cannot be saved: {error}") from error
        # The file sorts tensors by name, but the order of the layers is part of what masks say.
        texts = {"layers": json.dumps(list(self._masks)), "provenance": json.dumps(self.provenance)}
        return write_artifact(path, _FORMAT, plain_copies(self._masks), texts)

    @classmethod
    def load(cls, path: Place, *, digest: str | None = None) -> Self:
        """Read masks that `save` wrote.

        Args:
            path: where they are.
            digest: the SHA-256 (hex) that they were written with, where that is known; `save` returns it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, or not one of masks, or not the one that was written.
        """
        artifact = read_artifact(path, _FORMAT, digest=digest)
        with artifact.explained():
            layers, provenance = artifact.json("layers"), artifact.json("provenance")
            if sorted(layers) != sorted(artifact.tensors):
                raise ValueError("its list of layers does not fit the masks in it")
            return cls({name: artifact.tensors[name] for name in layers}, provenance=provenance)


def _count(mask: Tensor) -> int:
    # NumPy counts several times faster.
    return int(np.count_nonzero(mask.numpy()) if mask.device.type == "cpu" else mask.count_nonzero())


def _is_computed(name: str, module: nn.Module, weight: Tensor) -> bool:
    return not isinstance(weight, nn.Parameter)

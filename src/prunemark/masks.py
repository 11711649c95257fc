"""`Masks`: the one mask object. True = kept."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunemark.prunable import module_of, prunable, unwrap


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
    """Which weights of a network are kept: parameter name -> boolean tensor of the parameter's shape.

    A mapping that does not change; `provenance` is a JSON-able record of where it comes from (method,
    options, seed, data fingerprint, versions, certificates) and travels with `save` and `load`.

    Raises:
        ValueError: no masks at all, or a mask that is not boolean.
    """

    def __init__(self, masks: Mapping[str, Tensor], *, provenance: Mapping[str, Any] | None = None) -> None:
        if not masks:
            raise ValueError("Masks needs at least one layer")
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise ValueError(f"masks are boolean, True = kept; {name} has dtype {mask.dtype}")
        self._masks = dict(masks)
        self._counts = {name: int(mask.sum()) for name, mask in self._masks.items()}
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

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # equal by content, and the content is large

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

    def layers(self) -> list[LayerCount]:
        """Exact counts of every layer, in the order of the network."""
        return [
            LayerCount(name=name, shape=tuple(mask.shape), kept=self._counts[name], total=mask.numel())
            for name, mask in self._masks.items()
        ]

    def __repr__(self) -> str:
        return f"Masks({self.kept:,} of {self.total:,} kept, sparsity {self.sparsity:.4%}, {len(self)} layers)"

    def __str__(self) -> str:
        rows = [(c.name, "x".join(map(str, c.shape)), f"{c.kept:,}", f"{c.total:,}", c) for c in self.layers()]
        name_width = max(len("layer"), *(len(row[0]) for row in rows))
        shape_width = max(len("shape"), *(len(row[1]) for row in rows))
        lines = [f"{'layer':<{name_width}}  {'shape':>{shape_width}}  {'kept':>12}  {'of':>12}  {'density':>8}"]
        for name, shape, kept, total, count in rows:
            note = "  all pruned" if count.kept == 0 else ""
            lines.append(
                f"{name:<{name_width}}  {shape:>{shape_width}}  {kept:>12}  {total:>12}  {count.density:>8.2%}{note}"
            )
        lines.append(
            f"{'total':<{name_width}}  {'':>{shape_width}}  {self.kept:>12,}  {self.total:>12,}  {self.density:>8.2%}"
        )
        return "\n".join(lines)

    def apply_(self, model: nn.Module) -> None:
        """Set the pruned weights of the model to exactly 0, in place.

        Raises:
            ValueError: the model lacks a masked parameter, or its shape differs.
        """
        with torch.no_grad():
            for weight, mask in self._matched(model):
                weight.masked_fill_(~mask.to(weight.device), 0)

    def verify(self, model: nn.Module) -> None:
        """Check that every pruned weight of the model is exactly 0.

        Raises:
            MaskError: one is not; names the layer, the index and the value.
            ValueError: the model lacks a masked parameter, or its shape differs.
        """
        for (weight, mask), name in zip(self._matched(model), self, strict=True):
            wrong = (weight.detach() != 0) & ~mask.to(weight.device)
            if wrong.any():
                index = tuple(int(i) for i in wrong.nonzero()[0])
                raise MaskError(
                    f"{name}{list(index)} is pruned but holds {weight[index].item():g} "
                    f"({int(wrong.sum()):,} such weights in this layer)"
                )

    def hold(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> "Hold":
        """Zero the pruned weights now and keep them at exactly 0 through every step of this optimizer.

        Gradients of pruned weights are zeroed as they accumulate, so that they count neither in
        gradient clipping nor in momentum; after each optimizer step, and after each `load_state_dict` of the
        model, pruned weights are set to 0 again, whatever the optimizer did. State dict keys do not change.

        Returns:
            A handle; `handle.remove()` lets go, as does leaving it used as a context manager.
        """
        return Hold(self, model, optimizer)

    def _matched(self, model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        parameters = dict(unwrap(model).named_parameters(remove_duplicate=False))
        pairs: list[tuple[nn.Parameter, Tensor]] = []
        for name, mask in self._masks.items():
            weight = parameters.get(name)
            if weight is None:
                raise ValueError(f"these masks are of another model: it has no parameter {name!r}")
            if weight.shape != mask.shape:
                raise ValueError(
                    f"these masks are of another model: {name} has shape {tuple(weight.shape)}, "
                    f"its mask {tuple(mask.shape)}"
                )
            pairs.append((weight, mask))
        return pairs

    def to_torch_prune(self, model: nn.Module) -> None:
        """Put the masks into the model with `torch.nn.utils.prune`, in place (`weight_orig`, `weight_mask`)."""
        for name, (weight, mask) in zip(self, self._matched(model), strict=True):
            module, attribute = module_of(model, name)
            torch_prune.custom_from_mask(module, attribute, mask.to(weight.device, weight.dtype))

    @classmethod
    def from_torch_prune(cls, model: nn.Module) -> Self:
        """The masks that `torch.nn.utils.prune` holds in a model; prunable layers it left alone are all kept.

        Raises:
            ValueError: no layer of the model is pruned by `torch.nn.utils.prune`.
        """
        masks: dict[str, Tensor] = {}
        inner = unwrap(model)
        for path, module in inner.named_modules():
            for buffer, mask in module.named_buffers(recurse=False):
                attribute = buffer.removesuffix("_mask")
                if buffer != attribute and f"{attribute}_orig" in dict(module.named_parameters(recurse=False)):
                    masks[f"{path}.{attribute}" if path else attribute] = mask.bool()
        if not masks:
            raise ValueError(f"no layer of this {type(inner).__name__} is pruned by torch.nn.utils.prune")
        try:
            untouched = prunable(inner, exclude=lambda name, _module, _weight: name in masks)
        except ValueError:
            untouched = {}
        return cls(masks | {n: torch.ones_like(w, dtype=torch.bool) for n, w in untouched.items()})

    def save(self, path: str | Path) -> None:
        """Write the masks and their provenance as a safetensors file."""
        tensors = {name: mask.detach().cpu().contiguous() for name, mask in self._masks.items()}
        metadata = {
            "format": "prunemark.masks/1",
            # The file sorts tensors by name, but the order of the layers is part of what masks say.
            "layers": json.dumps(list(self._masks)),
            "provenance": json.dumps(self.provenance),
        }
        save_file(tensors, path, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read masks that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, or not one of masks.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no masks file {path}")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != "prunemark.masks/1":
                    raise ValueError(f"{path} is a safetensors file, but not one of prunemark masks")
                masks = {name: file.get_tensor(name) for name in json.loads(metadata["layers"])}
        except SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
        return cls(masks, provenance=json.loads(metadata["provenance"]))


class Hold:
    """Masks in force on one model and optimizer; made by `Masks.hold`."""

    def __init__(self, masks: Masks, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        masks.apply_(model)
        self._handles: list[Any] = []
        for name, weight in unwrap(model).named_parameters(remove_duplicate=False):
            if name in masks and weight.requires_grad:
                pruned = ~masks[name].to(weight.device)
                self._handles.append(weight.register_post_accumulate_grad_hook(_zero_gradient(pruned)))
        self._handles.append(optimizer.register_step_post_hook(lambda *_: masks.apply_(model)))
        self._handles.append(unwrap(model).register_load_state_dict_post_hook(lambda *_: masks.apply_(model)))

    def remove(self) -> None:
        """Let go: from now on nothing keeps the pruned weights at 0."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _zero_gradient(pruned: Tensor) -> Any:
    def hook(weight: Tensor) -> None:
        if weight.grad is not None:
            weight.grad.masked_fill_(pruned, 0)

    return hook

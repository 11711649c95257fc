"""Wiring of a subnetwork: density, dead units, paths from input to output, FLOPs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunemark.connectivity.layers import LayerTopology as LayerTopology
from prunemark.connectivity.layers import layer_topology
from prunemark.connectivity.probe import probe
from prunemark.connectivity.summary import Topology as Topology
from prunemark.datasets import Dataset
from prunemark.masks import Masks
from prunemark.models.calling import TARGETS, Batch, Forward, Inputs, call
from prunemark.models.prunable import device_of, parameters_of, unwrap

__all__ = ["LayerTopology", "Topology", "topology"]


def topology(
    model: nn.Module,
    masks: Masks,
    *,
    input_shape: Sequence[int] | None = None,
    data: Dataset | Iterable[Batch] | None = None,
    forward: Forward = call,
) -> Topology:
    """Look at how a subnetwork is wired, before it is trained: which layers collapsed, which weights do nothing.

    Counts are exact and need the masks alone. With the shape of an example, the model (a copy, in eval mode) is run
    once on zeros and ones in place of values, forward and backward, and every kept weight on a path from
    input to output is found: the *effective* weights. The graph is that of single values, not of channels: a weight
    counts if at some position it leads from a value that depends on the input to one that the output depends on, so
    padding, strides and borders are taken as they are for this input shape. A bias is on no path: a unit with
    a bias but no path from the input is a constant, and the weights behind it do not count. All elements of the output
    are its ends. A parameter without a mask can be any number, whatever it is now; frozen ones (requires_grad=False)
    and buffers keep their own values.

    Paths are followed through every operand of a function, also by keyword, and through what is written in place, also
    into a view; what cannot be followed is refused by an error that names it, never left out.

    Element-wise functions pass paths on, even where they may be 0 for the weights at hand (ReLU). Normalisation passes
    each unit on to itself; the statistics that units share are no path. A product (gates, attention) passes a path
    through either factor where the other can differ from 0, be it by a bias. Maxima, means and softmax depend on all
    they range over, but for what a constant mask moves 10,000 or more below the largest. So what is not effective
    carries nothing from the input to the output, while in gates and attention something effective may still carry
    nothing (a query that meets keys which are all the same constant).

    Args:
        model: any module; wrappers of `torch.compile` and data parallelism are looked through. Not changed.
        masks: of its weights; prunable weights without a mask count as kept, and in no total.
        input_shape: shape of one example, without the batch axis.
        data: instead of a shape, a dataset or batches (inputs, targets), or mappings as `prune` takes them: the first
            example of the first batch gives shapes and types, for models that take several inputs, dicts or token ids.
        forward: (model, inputs) -> outputs, tensors in tuples, lists, dicts or dataclasses.

    Raises:
        ValueError: `model` is not a module or `masks` not a Masks; the masks are of another model; the model does not
            run on such an example, takes decisions by values, or uses a function of torch that is not followed (the
            error names it).

    Reference: Vysogorets and Kempe 2021, Connectivity matters: neural network pruning through the lens of effective
    sparsity, arXiv 2107.02306.
    Deviations: they find paths by a pass of ones through a linearised float network; zeros and ones cannot overflow
    or vanish, and gates and attention are covered.

    Examples:
        >>> topology = pm.topology(model, masks, input_shape=(1, 8, 8))
        >>> topology.kept, topology.effective <= topology.kept
        (237, True)
    """
    _check_types(model, masks)
    inner = unwrap(model)
    parameters = parameters_of(inner, masks)
    inputs = _example(inner, input_shape, data)
    findings = None if inputs is None else probe(inner, masks, parameters, inputs, forward)
    return Topology(
        model=type(inner).__name__,
        layers=tuple(layer_topology(inner, name, mask, findings) for name, mask in masks.items()),
        inputs=None if findings is None else findings.inputs,
        inputs_used=None if findings is None else findings.inputs_used,
        outputs=None if findings is None else findings.outputs,
        outputs_reached=None if findings is None else findings.outputs_reached,
        flops_other=None if findings is None else findings.other_multiply_adds,
        effective_masks=None if findings is None else Masks(findings.effective),
    )


def _check_types(model: Any, masks: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model must be a torch.nn.Module; got a {type(model).__name__}: topology(model, masks)")
    if not isinstance(masks, Masks):
        raise ValueError(
            f"masks must be Masks, such as prune returns; got a {type(masks).__name__}: topology(model, masks)"
        )


def _example(
    model: nn.Module, input_shape: Sequence[int] | None, data: Dataset | Iterable[Batch] | None
) -> Inputs | None:
    if input_shape is None and isinstance(data, Dataset):
        input_shape = tuple(data.input_shape)
    if input_shape is not None:
        sizes: Sequence[Any] = input_shape
        if not isinstance(sizes, tuple | list) or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(
                f"input_shape is the shape of one example without the batch axis, such as (3, 32, 32); got {sizes!r}"
            )
        return torch.ones(1, *input_shape, device=device_of(model))
    if data is None or isinstance(data, Dataset):
        return None
    batch: Any = next(iter(data), None)
    if batch is None:
        raise ValueError("data holds no batches")
    if isinstance(batch, Mapping):
        return _first({name: value for name, value in batch.items() if name not in TARGETS})
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"data is an iterable of (inputs, targets) batches; its first is a {type(batch).__name__}")
    return _first(batch[0])


def _first(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.dim() and not len(value):
            raise ValueError("the first batch of data has no examples")
        return value[:1] if value.dim() else value
    if isinstance(value, Mapping):
        return {key: _first(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_first(item) for item in value)
    return value

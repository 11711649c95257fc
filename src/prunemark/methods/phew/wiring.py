"""Connections between the units of a model's layers, whatever is computed between the layers."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from prunemark.methods.phew.layer_call import LayerCall
from prunemark.methods.phew.probe import Probe
from prunemark.models.prunable import prunable


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The calls of a forward pass in order, and the wires between them that pass no other layer.

    `wires[source, sink]` lists, for two calls by number, pairs (output unit, input unit) that are connected.
    """

    calls: tuple[LayerCall, ...]
    wires: dict[tuple[int, int], tuple[Tensor, Tensor]]


def wire(model: nn.Module, forward: Callable[[nn.Module, Any], Any], input_shape: tuple[int, ...]) -> Wiring:
    """Find the wires of a model by probing, without data; the model's parameters and buffers are overwritten.

    Each layer's output is cut off and replaced by fresh numbers, one layer's with a derivative that spells each unit's
    number in binary; what arrives at the next layers' inputs says which unit it came from (forward-mode
    differentiation). This sees through activations, pooling, BatchNorm with running statistics, flattening, padding,
    slicing, addition (shortcuts), concatenation and squeeze-and-excitation gates. Where the numbers of units, when
    they are changed to much larger ones and to negative ones, change what layers receive, but no derivative arrives,
    other numbers are tried: large and negative ones pass thresholds, differences and maxima. What then still does not
    arrive is refused.

    Parameters that are trained are replaced by random numbers between 0.25 and 0.75; frozen ones keep their values.

    Args:
        model: a private copy, which is moved to float64 on the CPU, its parameters replaced; its layers'
            weights are freed.
        forward: (model, inputs) -> outputs.
        input_shape: shape of one example, without the batch axis.

    Raises:
        ValueError: the model does not take one tensor of floats or give one tensor; a weight of something other than
            a linear map or a convolution, or one that is never called as a module; units that mix without a weight
            of their own between them (LayerNorm, GroupNorm, attention); an operation without a forward derivative;
            layers whose first axis is not the batch; nothing arrives at a layer or at the output, or of what is used
            there something does not, as behind signs or `detach`; a random function.
    """
    # torch's first dual number compiles formulas with a function that torch has deprecated.
    with warnings.catch_warnings(), forward_ad.dual_level():
        # Up to torch 2.13 a DeprecationWarning, from 2.14 a FutureWarning.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is ")
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
    probe = Probe(model, forward, input_shape)
    probe.run(source=None)
    missing = set(prunable(model)) - {call.layer for call in probe.calls}
    if missing:
        raise ValueError(f"the units of {sorted(missing)} cannot be followed: the layer's forward is never called")
    for number in range(len(probe.calls)):
        probe.run(source=number)
    probe.require_arrivals()
    return Wiring(calls=tuple(probe.calls), wires=probe.wires)

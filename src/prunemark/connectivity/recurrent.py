"""Recurrent layers on Signals, unrolled over time."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prunemark.connectivity.algebra import add, arrange, join, linear, revive, times
from prunemark.connectivity.signals import CannotFollowError, Ledger, Signal, as_signal

State = tuple[Signal, ...]


def step(
    ledger: Ledger, kind: str, inputs: Signal, state: State, weights: Sequence[Signal], biases: Sequence[Signal]
) -> State:
    """One step of a cell: the new hidden state, and the new cell state of an LSTM.

    Args:
        ledger: takes note of the weights' units and multiply-adds.
        kind: "lstm", "gru" or "rnn".
        inputs: (batch, features).
        state: (hidden,) or, of an LSTM, (hidden, cell).
        weights: from the input, from the hidden state and, where the LSTM has one, its projection.
        biases: of what comes from the input and from the hidden state; none where the cell has none.
    """
    of_inputs, of_hidden = biases or (None, None)
    from_inputs = linear(ledger, inputs, weights[0], bias=of_inputs)
    from_hidden = linear(ledger, state[0], weights[1], bias=of_hidden)
    if kind == "rnn":
        return (add(from_inputs, from_hidden),)
    if kind == "gru":
        (reset_x, update_x, new_x), (reset_h, update_h, new_h) = _gates(from_inputs, 3), _gates(from_hidden, 3)
        update = revive(add(update_x, update_h))
        new = add(new_x, times(ledger, revive(add(reset_x, reset_h)), new_h))
        return (add(times(ledger, update, new), times(ledger, update, state[0])),)
    i, f, g, o = _gates(add(from_inputs, from_hidden), 4)
    cell = add(times(ledger, revive(f), state[1]), times(ledger, revive(i), g))
    hidden = times(ledger, revive(o), cell)
    return linear(ledger, hidden, weights[2], bias=None) if len(weights) > 2 else hidden, cell


def _gates(stacked: Signal, count: int) -> tuple[Signal, ...]:
    return arrange(stacked, lambda plane: plane.chunk(count, -1))


def cell(ledger: Ledger, kind: str, inputs: Signal, hidden: Any, weights: Sequence[Any], biases: Sequence[Any]) -> Any:
    """`nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell`."""
    device = inputs.device
    state = tuple(as_signal(h, device) for h in (hidden if kind == "lstm" else (hidden,)))
    given, shifts = ([as_signal(parameter, device) for parameter in group] for group in (weights, biases))
    after = step(ledger, kind, inputs, state, given, shifts)
    return after if kind == "lstm" else after[0]


def layers(
    ledger: Ledger,
    kind: str,
    inputs: Any,
    hidden: Any,
    flat_weights: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Signal, ...]:
    """`nn.LSTM`, `nn.GRU` or `nn.RNN`: outputs and last states, as torch gives them.

    Raises:
        ValueError: the input is a packed sequence.
    """
    del has_biases, dropout, train
    if not isinstance(inputs, Signal) or isinstance(flat_weights, Tensor | bool):
        raise CannotFollowError("topology cannot follow a recurrent layer on packed sequences; give it padded ones")
    device, directions = inputs.device, 2 if bidirectional else 1
    first = [as_signal(h, device) for h in (hidden if kind == "lstm" else (hidden,))]
    per_cell = len(flat_weights) // (num_layers * directions)
    steps = arrange(inputs, lambda plane: plane.unbind(1 if batch_first else 0))
    last: list[State] = []
    for layer in range(num_layers):
        ways: list[list[Signal]] = []
        for direction in range(directions):
            at = layer * directions + direction
            given = flat_weights[at * per_cell : (at + 1) * per_cell]
            weights, biases = ([as_signal(p, device) for p in given if p.dim() == axes] for axes in (2, 1))
            state: State = tuple(arrange(h, lambda plane, at=at: plane[at]) for h in first)
            outputs: list[Signal] = []
            for x in steps[::-1] if direction else steps:
                state = step(ledger, kind, x, state, weights, biases)
                outputs.append(state[0])
            last.append(state)
            ways.append(outputs[::-1] if direction else outputs)
        steps = [join(both, lambda planes: torch.cat(planes, -1)) for both in zip(*ways, strict=True)]
    outputs_over_time = join(steps, lambda planes: torch.stack(planes, 1 if batch_first else 0))
    ends = [join([state[part] for state in last], torch.stack) for part in range(len(first))]
    return outputs_over_time, *ends

"""Live units, worked out by hand."""

import numpy as np

from prunemark.training.engines.sparse.graph import Convolution, Graph, Join
from prunemark.training.engines.sparse.liveness import live_channels


def linear(source, target, *, groups=1):
    return Convolution(
        source=source,
        target=target,
        weight=target,
        bias=None,
        kernel=(1, 1),
        stride=1,
        padding=(0, 0),
        dilation=(1, 1),
        groups=groups,
    )


def kept(rows):
    return np.array(rows, bool)[:, :, None, None]


def live(graph, **weights):
    found = live_channels(graph, {name: kept(rows) for name, rows in weights.items()})
    return {name: channels.tolist() for name, channels in found.items()}


def test_a_chain():
    graph = Graph(
        input="x",
        logits="c",
        operations=[linear("x", "a"), linear("a", "b"), linear("b", "c")],
        shapes={"x": (3, 1, 1), "a": (3, 1, 1), "b": (3, 1, 1), "c": (2, 1, 1)},
    )
    found = live(
        graph,
        a=[[1, 0, 0], [0, 1, 0], [0, 0, 0]],
        b=[[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        c=[[1, 0, 1], [0, 0, 0]],
    )
    # b1 has no reader, so a1 has none, nor x1; a2 has a reader and no input and stays; logits all stay.
    assert found == {"x": [0], "a": [0, 2], "b": [0, 2], "c": [0, 1]}


def test_tensors_that_are_added_have_their_channels_in_common():
    graph = Graph(
        input="x",
        logits="c",
        operations=[linear("x", "a"), linear("a", "b"), Join(source="b", residual="a", target="s"), linear("s", "c")],
        shapes={"x": (2, 1, 1), "a": (3, 1, 1), "b": (3, 1, 1), "s": (3, 1, 1), "c": (1, 1, 1)},
    )
    found = live(graph, a=[[1, 0], [0, 0], [0, 1]], b=[[0, 1, 0], [0, 0, 0], [0, 0, 1]], c=[[1, 0, 0]])
    # c reads s0; b0 reads a1; so channels 0 and 1 of a, b and s are live, and x1, which reaches only a2, is not.
    assert found == {"x": [0], "a": [0, 1], "b": [0, 1], "s": [0, 1], "c": [0]}


def test_groups_read_their_own_channels():
    graph = Graph(
        input="x",
        logits="c",
        operations=[linear("x", "a", groups=2), linear("a", "c")],
        shapes={"x": (4, 1, 1), "a": (4, 1, 1), "c": (1, 1, 1)},
    )
    assert live(graph, a=[[1, 0], [0, 1], [1, 0], [0, 1]], c=[[1, 0, 0, 1]])["x"] == [0, 3]

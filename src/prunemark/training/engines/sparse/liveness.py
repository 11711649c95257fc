"""Which units of a masked network its logits depend on."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from prunemark.training.engines.sparse.graph import Convolution, Graph


def live_channels(graph: Graph, kept: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.intp]]:
    """For each tensor the channels, in order, that some path of kept weights joins to the logits.

    A unit without such a path gets no gradient and changes no logit, so that leaving it out is exact. Tensors that are
    added, normalised or pooled into each other share their channels: one that is live in any of them is live in all.

    Args:
        graph: the network.
        kept: weight name -> boolean (outputs, channels / groups, *kernel).
    """
    group = {name: name for name in graph.shapes}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for operation in graph.operations:
        if not isinstance(operation, Convolution):
            for source in graph.sources(operation):
                group[root(source)] = root(operation.target)
    live = {name: np.zeros(shape[0], bool) for name, shape in graph.shapes.items()}
    live[root(graph.logits)][:] = True
    changed = True
    while changed:
        changed = False
        for operation in reversed(graph.operations):
            if isinstance(operation, Convolution):
                source = live[root(operation.source)]
                found = source | _read_channels(operation, kept[operation.weight], live[root(operation.target)])
                changed |= bool((found != source).any())
                live[root(operation.source)] = found
    return {name: np.flatnonzero(live[root(name)]) for name in graph.shapes}


def _read_channels(
    operation: Convolution, kept: NDArray[np.bool_], live_outputs: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    read = kept.any(axis=(2, 3)) & live_outputs[:, None]  # (outputs, channels / groups)
    return read.reshape(operation.groups, -1, read.shape[1]).any(axis=1).reshape(-1)

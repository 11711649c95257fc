"""A network as a list of operations over tensors of channels x height x width, and how they are fused."""

from collections import Counter
from dataclasses import dataclass, field, replace

Shape = tuple[int, int, int]


class UnsupportedError(ValueError):
    """The sparse engine lacks a part that the network has."""


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution, or a linear map: that is one whose kernel is the whole image.

    Attributes:
        weight, bias: names of parameters; the weight is read as (outputs, channels / groups, *kernel).
    """

    source: str
    target: str
    weight: str
    bias: str | None
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True, kw_only=True)
class Join:
    """target = relu?(normalisation?(source) + residual?), element by element.

    Attributes:
        normalisation: name of a BatchNorm module.
    """

    source: str
    target: str
    normalisation: str | None = None
    residual: str | None = None
    relu: bool = False


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Max or average pooling; averages of windows over the border divide by all of them with `count_padding`."""

    source: str
    target: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    maximum: bool
    count_padding: bool = True


Operation = Convolution | Join | Pool


@dataclass
class Graph:
    """Operations in an order in which they can run.

    Attributes:
        shapes: channels, height and width of every tensor.
        input, logits: names of the tensors that the network takes and returns; logits are 1 x 1.
        flat_input: the input's pixels are channels of a 1 x 1 image: the network flattens it first.
    """

    input: str
    logits: str
    flat_input: bool = False
    operations: list[Operation] = field(default_factory=list["Operation"])
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])

    def sources(self, operation: Operation) -> tuple[str, ...]:
        """The tensors that an operation reads."""
        if isinstance(operation, Join) and operation.residual is not None:
            return operation.source, operation.residual
        return (operation.source,)

    def uses(self) -> Counter[str]:
        """How many operations read each tensor; the logits are read once more, by the loss."""
        counts = Counter(source for operation in self.operations for source in self.sources(operation))
        counts[self.logits] += 1
        return counts


def fused(graph: Graph) -> Graph:
    """The same network with BatchNorm, addition and ReLU joined where nothing else reads what is between them."""
    uses = graph.uses()
    joins: dict[str, Join] = {}
    operations: list[Operation] = []
    for operation in graph.operations:
        if isinstance(operation, Join):
            absorbed = _absorbed(operation, joins, uses)
            if absorbed is not None:
                operation, inner = absorbed
                operations.remove(inner)
                del joins[inner.target]
            joins[operation.target] = operation
        operations.append(operation)
    return replace(graph, operations=operations)


def _absorbed(join: Join, joins: dict[str, Join], uses: Counter[str]) -> tuple[Join, Join] | None:
    """A join together with one before it, and that one; None where they stay apart."""
    if join.normalisation is not None:
        return None
    for source, residual in ((join.source, join.residual), (join.residual, join.source)):
        inner = joins.get(source) if source is not None else None
        if (
            inner is None
            or inner.relu
            or uses[inner.target] > 1
            or (residual is not None and inner.residual is not None)
        ):
            continue
        return replace(inner, target=join.target, residual=residual or inner.residual, relu=join.relu), inner
    return None

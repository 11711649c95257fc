"""The scoring problem that a method is given, and the protocol of a method."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from prunemark.masks import Masks
from prunemark.models.calling import Batch, Forward, Inputs, Loss, call
from prunemark.randomness import generator

BatchNormMode = Literal["train", "eval"]
ZeroMeans = Literal["unscored", "score", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A subnetwork to score: a private copy of the model, on which a method may do what it likes.

    Attributes:
        model: the copy; its pruned weights are 0. In train mode when the method is called.
        weights: its prunable parameters by name, in the order of the network.
        masks: which of them survive; all ones in the first round.
        initial: the same weights as they were before any mask zeroed them.
        seed: from which `generator` derives random numbers.
        loss: (outputs, targets) -> a scalar, the mean over the batch.
        forward: (model, inputs) -> outputs.
        input_shape: shape of one example, without the batch axis, where it is known.
        round: which round of pruning this is, from 1.
        continued: the model is the one that the method was given in the round before, as it left it, with further
            weights pruned; so only if the method says that it `keeps_model`. Its mode is then that of `mode`.
    """

    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    masks: Masks
    initial: Mapping[str, Tensor]
    seed: int = 0
    loss: Loss = functional.cross_entropy
    forward: Forward = call
    input_shape: tuple[int, ...] | None = None
    round: int = 1
    continued: bool = False
    given_batches: Sequence[Batch] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        shape: Any = self.input_shape
        if shape is not None and not (
            isinstance(shape, tuple | list) and all(isinstance(size, int) and size > 0 for size in shape)
        ):
            raise ValueError(
                f"input_shape is the shape of one example without the batch axis, such as (3, 32, 32); got {shape!r}"
            )

    @property
    def batches(self) -> Sequence[Batch]:
        """The scoring examples as (inputs, targets) batches, at least one.

        Raises:
            ValueError: no data was given.
        """
        if not self.given_batches:
            raise ValueError("this method scores with examples: pass data=, batches or a dataset")
        return self.given_batches

    def shape_of_example(self, why: str) -> tuple[int, ...]:
        """`input_shape`, for a method that makes its own input.

        Raises:
            ValueError: it is not known; the message begins with `why`.
        """
        if self.input_shape is not None:
            return self.input_shape
        if self.given_batches:
            raise ValueError(
                f"{why}, and an example of these batches is not one tensor: pass forward=(model, inputs) -> outputs "
                "that takes one, and its input_shape= (without the batch axis)"
            )
        raise ValueError(f"{why}: pass input_shape= (without the batch axis) or data=")

    def size(self, batch: Batch) -> int:
        """The number of examples of a batch: the length of the first of its inputs that is a tensor with axes.

        Raises:
            ValueError: no input is one.
        """
        inputs, _ = batch
        values: Sequence[Any] = (inputs,)
        if isinstance(inputs, Mapping | tuple | list):
            values = tuple(inputs.values() if isinstance(inputs, Mapping) else inputs)
        sizes = [len(value) for value in values if isinstance(value, Tensor) and value.ndim]
        if not sizes:
            kind = type(inputs).__name__
            raise ValueError(f"a batch has as many examples as its first tensor, but there is none in this {kind}")
        return sizes[0]

    def weighted_batches(self) -> Iterator[tuple[Batch, float]]:
        """Each batch with its share of all examples."""
        if len(self.batches) == 1:
            return iter([(self.batches[0], 1.0)])  # whatever it is made of
        sizes = [self.size(batch) for batch in self.batches]
        return zip(self.batches, (size / sum(sizes) for size in sizes), strict=True)

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        """A batch cut into that many pieces, in order, the last ones larger where it does not divide evenly.

        Raises:
            ValueError: the inputs are not one tensor, or there are fewer examples than pieces.
        """
        inputs, targets = batch
        size = self.size(batch)
        if not isinstance(inputs, Tensor) or size < parts:
            raise ValueError(f"cannot cut a batch of {size} examples ({type(inputs).__name__}) into {parts} pieces")
        edges = [size * part // parts for part in range(parts + 1)]
        return [(inputs[a:b], targets[a:b]) for a, b in itertools.pairwise(edges)]

    def outputs(self, inputs: Inputs, *, parameters: Mapping[str, Tensor] | None = None) -> Any:
        """Outputs of the model for these inputs, optionally with other values of some `parameters`, by name."""
        if parameters is None:
            return self.forward(self.model, inputs)
        values = {f"model.{name}": value for name, value in parameters.items()}
        return functional_call(_Caller(self.model, self.forward), values, (inputs,))

    def batch_loss(
        self, batch: Batch, *, temperature: float = 1.0, parameters: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The loss of one batch, with its logits divided by a temperature; `parameters` as in `outputs`.

        Raises:
            ValueError: the loss is not a scalar or does not depend on the weights; or the outputs are not one
                tensor and have a temperature; or the loss is not finite.
        """
        inputs, targets = batch
        outputs = self.outputs(inputs, parameters=parameters)
        if temperature != 1:
            if not isinstance(outputs, Tensor):
                raise ValueError(
                    f"the model returns a {type(outputs).__name__}, which a temperature cannot divide: pass "
                    "forward=(model, inputs) -> logits"
                )
            outputs = outputs / temperature
        loss = self.loss(outputs, targets)
        if loss.numel() != 1 or not loss.is_floating_point():
            kind = str(loss.dtype).removeprefix("torch.")
            raise ValueError(f"the loss must be one real number; got a tensor of {kind} of shape {tuple(loss.shape)}")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError("the loss does not depend on any prunable weight")
        if not _finite(loss):
            broken = [name for name, weight in self.weights.items() if not weight.isfinite().all()]
            raise ValueError(
                f"the loss of a batch is {loss.item()}: "
                + (
                    f"{broken[0]} is not finite"
                    if broken
                    else "is every target ignored, is an input not finite, or does the network overflow?"
                )
            )
        return loss

    def gradients(self, value: Tensor, *, create_graph: bool = False, masked: bool = True) -> dict[str, Tensor]:
        """d value / d w for every prunable weight; zero where w does not matter or, `masked`, is pruned."""
        if not value.requires_grad:
            raise ValueError("the loss does not depend on any prunable weight")
        tensors = list(self.weights.values())
        grads = dict(
            zip(
                self.weights,
                torch.autograd.grad(value, tensors, create_graph=create_graph, materialize_grads=True),
                strict=True,
            )
        )
        if masked:
            for layer in self.masks.layers():
                if layer.kept < layer.total:
                    # One after the other, so that the unmasked ones are not all held as well.
                    grads[layer.name] = grads[layer.name] * self.masks[layer.name]
        return grads

    def zeros(self) -> dict[str, Tensor]:
        """A tensor of zeros per prunable weight: where scores are summed up."""
        return {name: torch.zeros_like(weight) for name, weight in self.weights.items()}

    def generator(self, purpose: str) -> torch.Generator:
        """A CPU random generator for one purpose, the same for every method of this seed."""
        return generator(self.seed, purpose)

    @contextmanager
    def mode(self, bn: BatchNormMode) -> Generator[None]:
        """Score with BatchNorm in one of its modes; "eval" puts the whole copy in eval mode."""
        if self.model.training != (bn == "train") or not self.continued:
            self.model.train(bn == "train")
        yield
        if not self.continued:
            self.model.train()


def _finite(loss: Tensor) -> bool:
    try:
        return bool(loss.detach().isfinite())
    except RuntimeError:  # under vmap, which reads no values
        return True


class _Caller(nn.Module):
    """A model and how it is called, as one module, so that `functional_call` takes any `forward`."""

    def __init__(self, model: nn.Module, call_model: Forward) -> None:
        super().__init__()
        self.model = model
        self.call_model = call_model

    def forward(self, inputs: Inputs) -> Any:
        return self.call_model(self.model, inputs)


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way of scoring weights: a frozen dataclass whose fields are its options and its switches.

    A switch that a method fixes is not one of its options (`init=False`); one that its users may choose is declared
    anew.

    Attributes:
        rounds: in how many rounds it prunes unless told otherwise.
        examples_per_class: how many examples of each class are drawn from a dataset.
        ordinary_batch: draw that many examples instead, whatever their class; None = a balanced sample.
        revives: pruned weights are ranked again in every round, and may come back.
        keeps_ceiling: rounds before the last keep the ceiling of the count, not the nearest number.
        reuses_weights: what the method does to `problem.weights` is the same done twice as once, so that the next
            round's copy of the model may have them as it left them, further ones pruned; this saves a copy.
        keeps_model: once it has prepared the model in the first round, the method changes nothing of it, so that the
            next round may continue on the same copy (`Problem.continued`).
        own_precision: scores do not depend on the precision of the model, so that `score_dtype` means nothing.
        zero_means: whether a score of exactly 0 says nothing about a weight ("unscored": products with a gradient) or
            is a "score" like any other (|w|); where it is "unknown", zeros count as unscored where some are kept and
            others pruned.
    """

    rounds: int = 1
    examples_per_class: int = field(default=10, init=False)
    ordinary_batch: int | None = field(default=None, init=False)
    revives: bool = field(default=False, init=False)
    keeps_ceiling: bool = field(default=False, init=False)
    reuses_weights: bool = field(default=False, init=False)
    keeps_model: bool = field(default=False, init=False)
    own_precision: bool = field(default=False, init=False)
    zero_means: ZeroMeans = field(default="unknown", init=False)

    @abstractmethod
    def __call__(self, problem: Problem, /) -> Mapping[str, Tensor]:
        """Scores, larger = keep, one tensor per prunable weight of the problem, of the weight's shape."""

    def facts(self) -> tuple[str, dict[str, Any]]:
        """The method's name and its options, for the provenance of masks."""
        return type(self).__name__, {f.name: getattr(self, f.name) for f in fields(self) if f.init}

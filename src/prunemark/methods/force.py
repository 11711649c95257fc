"""FORCE: foresight connection sensitivity (de Jorge et al. 2021, arXiv 2006.09081)."""

from dataclasses import dataclass

from torch import Tensor

from prunemark.methods import METHODS
from prunemark.methods.base import BatchNormMode, Method, Problem


@dataclass(frozen=True, kw_only=True)
class Force(Method):
    """Score each weight with the connection sensitivity it has, or would have, in the pruned network.

    s = |w * dL/dv| at v = w * m, the network that the previous round's mask m left: a pruned weight is scored with
    its own value w and the gradient at 0, and comes back where that beats a survivor. Round t of T keeps
    k_t = exp((t / T) log k + (1 - t / T) log n) of n weights, as `prune` does. Over several batches the gradients are
    averaged, weighted by size, before the absolute value is taken, as the authors' program (naver/force) does.

    In the first round this is SNIP. Without revival it is the paper's iterative SNIP, `iter-snip`: `Snip` in
    several rounds.

    Deviations: the paper draws a new mini-batch in each round; here the scoring examples are a fixed draw, used in
    every round unless `new_batch_each_round`. Rounds: 60 in the examples of the authors' program, whose own default is
    10; the number behind each of the paper's figures is not verified [V].

    Attributes:
        rounds: T.
        examples_per_class: how many examples of each class are drawn from a dataset.
        bn: whether BatchNorm uses the batch's statistics ("train") or its running ones ("eval").
        new_batch_each_round: score round t with the t-th batch only, starting over when they run out.
    """

    rounds: int = METHODS["force"].rounds
    examples_per_class: int = 10
    bn: BatchNormMode = "train"
    new_batch_each_round: bool = False
    revives = True
    zero_means = "unscored"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores >= 0, in the unit of the loss; of pruned weights too."""
        weighted = list(problem.weighted_batches())
        if self.new_batch_each_round:
            batch, _ = weighted[(problem.round - 1) % len(weighted)]
            weighted = [(batch, 1.0)]
        mean: dict[str, Tensor] = {}
        with problem.mode(self.bn):
            for batch, share in weighted:
                gradients = problem.gradients(problem.batch_loss(batch), masked=False)
                for name in problem.weights:
                    part = share * gradients.pop(name)
                    mean[name] = mean[name] + part if name in mean else part
        return {name: mean[name].mul_(initial).abs_() for name, initial in problem.initial.items()}

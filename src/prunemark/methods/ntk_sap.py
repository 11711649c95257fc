"""NTK-SAP: neural tangent kernel spectrum-aware pruning (Wang, Li & Sun 2023, arXiv 2304.02840)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from prunemark.methods import METHODS
from prunemark.methods.base import Method, Problem


@dataclass(frozen=True, kw_only=True)
class NtkSap(Method):
    """Score each weight with its influence on the trace of the neural tangent kernel, without data.

    s = |sum over draws of m * dR/dm|, R = sum over inputs x of |f(x; m * t) - f(x; m * (t + e D))|^2 at the mask m,
    with x ~ N(0, 1), weights t drawn afresh from the network's initialisation (the method does not look at the weights
    it prunes), D ~ N(0, 1) per prunable weight, all drawn anew in each of `draws` and each round. R / e^2 estimates the
    sum of the diagonal of the NTK (Jacobian times its transpose), the sum of the kernel's eigenvalues, as e -> 0.

    BatchNorm uses, in both networks, the statistics that the unperturbed one has on the inputs. Computed in at
    least float32. A model with `initialize_(generator)`, as prunemark's own networks have, draws itself.

    Deviations: in any other model only prunable weights are drawn afresh, He normal (variance 2 / fan-in); the rest
    stays. Rounds, draws, perturbation and number of inputs (10 per class, CIFAR-10) are those of the authors'
    program (YiteWang/NTK-SAP, scripts/run.sh for ResNet-20); the paper's for other networks are not verified [V].

    Attributes:
        rounds: 20 in the program's script.
        draws: how many configurations of weights, 5 in the script.
        epsilon: e > 0, 0.01 in the program.
        examples: how many random inputs in each draw.

    Raises:
        ValueError: `draws` or `examples` below 1, or an epsilon that is not positive.
    """

    rounds: int = METHODS["ntk-sap"].rounds
    draws: int = 5
    epsilon: float = 0.01
    examples: int = 100
    zero_means = "unscored"

    def __post_init__(self) -> None:
        if self.draws < 1 or self.examples < 1 or self.epsilon <= 0:
            raise ValueError(
                "NTK-SAP needs draws >= 1, examples >= 1 and epsilon > 0; "
                f"got draws={self.draws!r}, examples={self.examples!r}, epsilon={self.epsilon!r}"
            )

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores >= 0, in the unit of the squared outputs.

        Raises:
            ValueError: the shape of an example is not known; the model does not take floats of that shape, or
                returns something other than one tensor.
        """
        dtype = torch.promote_types(next(iter(problem.weights.values())).dtype, torch.float32)
        problem.model.to(dtype)
        masks = {name: mask.to(dtype).requires_grad_() for name, mask in problem.masks.items()}
        total: dict[str, Tensor] = {}
        for draw in range(1, self.draws + 1):
            change = self._drawn_change(problem, masks, draw)
            gradients = list(torch.autograd.grad(change, list(masks.values()), materialize_grads=True))
            for name in reversed(masks):
                total[name] = total.get(name, 0) + gradients.pop()
        return {name: (total.pop(name) * mask).abs_() for name, mask in problem.masks.items()}

    def _drawn_change(self, problem: Problem, masks: Mapping[str, Tensor], draw: int) -> Tensor:
        """R of one draw, of which nothing but its graph is held."""
        input_shape = problem.shape_of_example("NTK-SAP feeds random inputs")
        source = problem.generator(f"ntk-sap round {problem.round} draw {draw}")
        _redraw_(problem, source)
        weights = {name: weight.detach() for name, weight in problem.weights.items()}
        direction = {name: _normal(weight.shape, source).to(weight) for name, weight in weights.items()}
        inputs = _normal((self.examples, *input_shape), source).to(next(iter(weights.values())))
        return self.change(problem, masks, weights, direction, inputs)

    def change(
        self,
        problem: Problem,
        masks: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        direction: Mapping[str, Tensor],
        inputs: Tensor,
    ) -> Tensor:
        """R of one draw, a function of the masks."""
        plain = {name: mask * weights[name] for name, mask in masks.items()}
        perturbed = {name: mask * (weights[name] + self.epsilon * direction[name]) for name, mask in masks.items()}
        norms = [module for module in problem.model.modules() if isinstance(module, _BatchNorm)]
        problem.model.train()
        for norm in norms:
            norm.momentum = 1.0
        try:
            if norms:
                with torch.no_grad():
                    problem.outputs(inputs, parameters=plain)
            problem.model.eval()
            before, after = (problem.outputs(inputs, parameters=values) for values in (plain, perturbed))
        except Exception as error:
            raise ValueError(
                f"NTK-SAP feeds {type(problem.model).__name__} random floats of shape {tuple(inputs.shape)}, which it "
                "does not take; for other inputs (tokens, say) pass forward=(model, inputs) -> logits, which enters "
                f"behind the embedding: {error}"
            ) from error
        if not isinstance(before, Tensor):
            raise ValueError(f"NTK-SAP compares outputs that are one tensor; the model gives a {type(before).__name__}")
        return (before - after).square().sum()


def _redraw_(problem: Problem, source: torch.Generator) -> None:
    """Draw the weights of the problem's model anew, in place."""
    draw = getattr(problem.model, "initialize_", None)
    if draw is not None:
        draw(source)
        return
    with torch.no_grad():
        for weight in problem.weights.values():
            fresh = torch.empty(weight.shape)
            weight.copy_(nn.init.kaiming_normal_(fresh, nonlinearity="relu", generator=source))


def _normal(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=source)

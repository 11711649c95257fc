"""Parameters without masks: those that are trained can be any number, frozen ones are the numbers that they are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.connectivity import Topology, topology
from prunemark.masks import Masks
from tests.connectivity.test_topology import draw_masks


def compare(model: nn.Module, masks: Masks, shape: tuple[int, ...]) -> Topology:
    """Check effective weights and inputs against gradients at random trainable parameters."""
    found = topology(model, masks, input_shape=shape)
    source = torch.Generator().manual_seed(5)
    matter = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    used = torch.zeros(1, *shape, dtype=torch.bool)
    for _ in range(3):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = torch.randn(parameter.shape, generator=source)
                parameter.grad = None
        masks.apply_(model)
        x = torch.randn(1, *shape, generator=source).requires_grad_()
        outputs = model(x)
        (outputs * torch.randn(outputs.shape, generator=source)).sum().backward()
        assert x.grad is not None
        used |= x.grad != 0
        for name, parameter in model.named_parameters():
            if name in masks and parameter.grad is not None:
                matter[name] |= masks[name] & (parameter.grad != 0)
    assert found.effective_masks == Masks(matter)
    assert found.inputs_used == used.sum()
    return found


class Mixing(nn.Module):
    """Two branches, joined with the help of learned numbers."""

    def __init__(self, join: Callable[..., Tensor]) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3, bias=False)
        self.b = nn.Linear(4, 3, bias=False)
        self.p = nn.Parameter(torch.full((3,), 0.5))
        self.q = nn.Parameter(torch.zeros(3))
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.a(x), self.b(x), self.p, self.q)


@pytest.mark.parametrize("density", [0.5, 1.0])
@pytest.mark.parametrize(
    "join",
    [
        lambda a, b, p, q: p * a + (1 - p) * b,
        lambda a, b, p, q: torch.lerp(a, b, p),
        lambda a, b, p, q: a * (p - q) + b,
        lambda a, b, p, q: a * p.exp().log() + q * b,
        lambda a, b, p, q: a * (p / p - q.square()) + b * (1 + q),
        lambda a, b, p, q: a * torch.outer(p, q).sum(0) + b * torch.linalg.matrix_exp(torch.outer(p, q))[0],
        lambda a, b, p, q: torch.where(p > q, a, b).sum() + a * (p == q),
        lambda a, b, p, q: torch.addcmul(a * q, b, 1 - p),
        lambda a, b, p, q: functional.layer_norm(a, (3,), 1 - p, q) * b,
        lambda a, b, p, q: functional.linear(a * b, torch.stack([p, q, torch.zeros(3)])),
    ],
    ids=[
        "1 - p", "lerp", "p - q", "log", "quotient", "no rule of its own", "comparison", "addcmul", "scale", "weight",
    ],
)  # fmt: skip
def test_learned_numbers_are_any_numbers(join, density):
    model = Mixing(join)
    masks = draw_masks(model, 2, density)
    masks = Masks({name: masks[name] for name in ("a.weight", "b.weight")})
    compare(model, masks, (4,))


class Shifted(nn.Module):
    """RWKV's token shift, of which the last position is read."""

    def __init__(self) -> None:
        super().__init__()
        self.k = nn.Linear(4, 3, bias=False)
        self.p = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.k(x * self.p + functional.pad(x, (0, 0, 1, -1)) * (1 - self.p))[:, -1]


def test_a_token_shift_reads_two_tokens():
    assert compare(Shifted(), Masks({"k.weight": torch.ones(3, 4, dtype=torch.bool)}), (3, 4)).inputs_used == 8


class Frozen(nn.Module):
    """A linear map whose units are used through frozen numbers."""

    def __init__(self, use: Callable[[Tensor, Tensor, Tensor], Tensor], values: Tensor) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4, bias=False)
        self.values = nn.Parameter(values, requires_grad=False)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(x, self.a.weight, self.values)


@pytest.mark.parametrize("density", [0.5, 1.0])
@pytest.mark.parametrize(
    ("use", "values"),
    [
        (lambda x, w, order: (x @ w.T)[:, order].square(), torch.tensor([3, 0, 2])),
        (lambda x, w, m: functional.linear(x, w * m), torch.ones(4, 4).tril(-1)),
        (lambda x, w, chosen: functional.linear(x * chosen, w), torch.tensor([1.0, 0.0, 0.0, 1.0])),
        (lambda x, w, m: (x @ w.T).masked_select(m), torch.tensor([[True, False, True, False]])),
        (lambda x, w, b: functional.linear(x, w, b).prod(1), torch.tensor([0.0, 1.0, 0.0, 2.0])),
        (
            lambda x, w, g: functional.batch_norm(x @ w.T, torch.zeros(4), torch.ones(4), g),
            torch.tensor([0.0, 1.0, 0.0, 2.0]),
        ),
    ],
    ids=["indices", "mask of weights", "chosen inputs", "chosen units", "bias", "scale"],
)
def test_frozen_numbers_count_by_their_values(use, values, density):
    model = Frozen(use, values)
    for seed in range(3):
        masks = draw_masks(model, seed, density)
        compare(model, Masks({"a.weight": masks["a.weight"]}), (4,))


@pytest.mark.parametrize(
    ("join", "message"),
    [
        (lambda a, b, p, q: a if p.sum() > 0 else b, "decisions by the values of its input or parameters"),
        (lambda a, b, p, q: a * p[0].item(), r"needs one \(item\)"),
        (lambda a, b, p, q: a[:, p.argsort()], "torch's argsort of parameters, whose values training changes"),
        (lambda a, b, p, q: a[:, p.long()], "getitem where argument 2 is computed from the input or from parameters"),
    ],
    ids=["decision", "number", "order", "index"],
)
def test_what_hangs_on_the_values_of_parameters_is_refused(join, message):
    masks = Masks({"a.weight": torch.ones(3, 4, dtype=torch.bool)})
    with pytest.raises(ValueError, match=message):
        topology(Mixing(join), masks, input_shape=(4,))

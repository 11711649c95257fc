"""Rules of single functions, against gradients at random weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prunemark.connectivity import topology
from prunemark.masks import Masks
from tests.connectivity.test_topology import all_kept, draw_masks, matter_at_random_weights

Function = Callable[[Tensor], Tensor]


class Behind(nn.Module):
    """function(a(x)), without biases."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6, bias=False)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.a(x))


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("softmax", [nn.functional.softmax, nn.functional.log_softmax, nn.functional.softmin])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)], ids=["two axes", "three axes", "four axes"])
def test_a_softmax_without_dim_ranges_over_the_axis_that_torch_takes(softmax, shape):
    # One element of what it gives shows over which axis the softmax ranged.
    model = Behind(lambda y: softmax(y)[(slice(None), *[slice(1)] * (y.dim() - 1))])
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    found = topology(model, all_kept(model), input_shape=shape)
    # With a batch of one, a softmax over the first axis gives the constant 1.
    assert found.effective_masks == matter_at_random_weights(model, all_kept(model), lambda m: m(x.double()))


@pytest.mark.parametrize("density", [0.3, 0.6, 1.0])
@pytest.mark.parametrize(
    "function",
    [
        lambda y: y.prod(1),
        lambda y: y.prod(1, keepdim=True) * y[:, :2],
        lambda y: torch.prod(y.view(-1, 2, 3), dim=-1),
        lambda y: torch.prod(y[0, :3]),
        lambda y: y[:, 0] * torch.logaddexp(y[:, 1], y[:, 2]),
    ],
    ids=["one axis", "axis kept", "last of three axes", "all", "not 0 where both are"],
)
def test_a_product_over_an_axis_needs_every_factor(function, density):
    model = Behind(function)
    x = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    for seed in range(5):
        masks = draw_masks(model, seed, density)
        found = topology(model, masks, input_shape=(4,))
        assert found.effective_masks == matter_at_random_weights(model, masks, lambda m: m(x.double()))


def test_a_product_with_a_dead_unit_is_cut():
    mask = torch.ones(6, 4, dtype=torch.bool)
    mask[2] = False
    found = topology(Behind(lambda y: y.prod(1)), Masks({"a.weight": mask}), input_shape=(4,))
    assert (found.effective, found.cut) == (0, True)


class Normalised(nn.Module):
    """Units of a, normalised, gate those of v; what the gate lets through says which normalised units are alive."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.a = nn.Conv1d(2, 6, 1, bias=False)
        self.v = nn.Conv1d(2, 6, 1, bias=False)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.a(x)) * self.v(x)


class LastAxis(nn.LayerNorm):
    """Over channels, which stand second."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.mT).mT


def shifted() -> nn.Module:
    norm = nn.BatchNorm1d(6, affine=False)
    norm.running_mean.copy_(torch.tensor([0.0, 0.5, 0.0, -1.0, 2.0, 0.0]))
    return norm


@pytest.mark.parametrize(
    "norm",
    [
        lambda: LastAxis(6, bias=False),
        lambda: LastAxis(6, elementwise_affine=False),
        lambda: nn.GroupNorm(2, 6, affine=False),
        lambda: nn.GroupNorm(6, 6, affine=False),
        lambda: nn.InstanceNorm1d(6),
        lambda: nn.BatchNorm1d(6, affine=False),
        lambda: nn.BatchNorm1d(6, affine=False, track_running_stats=False),
        shifted,
        lambda: LastAxis(6),
    ],
    ids=[
        "layer", "layer without affine", "group", "group of one", "instance", "batch", "batch statistics",
        "running mean", "with a bias",
    ],
)  # fmt: skip
def test_a_dead_unit_leaves_a_normalisation_as_its_mean_does(norm):
    model = Normalised(norm())
    x = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(0))
    full = torch.ones(6, 2, 1, dtype=torch.bool)
    for dead in ([0], [0, 1, 2], [1, 3, 5], list(range(6))):
        some = full.clone()
        some[dead] = False
        masks = Masks({"a.weight": some, "v.weight": full})
        found = topology(model, masks, input_shape=(2, 3)).effective_masks
        expected = matter_at_random_weights(model, masks, lambda m: m(x.double()))
        assert found is not None
        assert torch.equal(found["v.weight"], expected["v.weight"])


def test_an_element_normalised_alone_is_always_0():
    model = Normalised(LastAxis(1, bias=False))
    model.a, model.v = nn.Conv1d(2, 1, 1, bias=False), nn.Conv1d(2, 1, 1, bias=False)
    found = topology(model, all_kept(model), input_shape=(2, 3))
    assert (found.effective, found.cut) == (0, True)

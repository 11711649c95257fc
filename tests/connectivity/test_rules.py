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

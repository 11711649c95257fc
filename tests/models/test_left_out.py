"""Parameters left out of pruning are reported: by the masks, and by a warning where it outweighs the rest."""

import warnings

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.models.left_out import LeftOut, prunable_share


class Product(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight


class Net(nn.Module):
    """2 x 4 = 8 prunable weights of 8 + 4 + 12 + 10 + 8 = 42 parameters."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 2)
        self.linear = nn.Linear(2, 4)
        self.norm = nn.LayerNorm((1, 4))
        self.product = Product(4, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.product(self.norm(self.linear(inputs)[:, None])[:, 0])


def test_masks_name_what_is_left_out_and_the_share_that_is_prunable(tmp_path):
    with pytest.warns(pm.LeftOutWarning):
        masks = pm.prune(Net(), "magnitude", sparsity=0.5)
    assert masks.left_out == (LeftOut(name="product.weight", shape=(4, 3)),)
    assert masks.left_out[0].count == 12
    assert (masks.total, masks.parameters) == (8, 42)
    assert str(masks).splitlines()[-2:] == ["19 % of all 42 parameters are prunable", "left out: product.weight (4x3)"]
    masks.save(tmp_path / "masks.safetensors")
    for derived in (pm.Masks.load(tmp_path / "masks.safetensors"), pm.shuffle(masks)):
        assert (derived.left_out, derived.parameters) == (masks.left_out, 42)
    assert prunable_share(Net()) == 8 / 42


def test_masks_made_by_hand_know_nothing_of_the_rest():
    masks = pm.Masks({"weight": torch.ones(2, 2, dtype=torch.bool)})
    assert (masks.left_out, masks.parameters) == (None, None)
    assert "prunable" not in str(masks)


def test_nothing_is_left_out_of_layers_that_are_known():
    masks = pm.prune(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), "magnitude", sparsity=0.5)
    assert masks.left_out == ()
    assert str(masks).splitlines()[-1] == "58.8 % of all 34 parameters are prunable"


def test_what_the_warning_says_to_include_adds_all_of_it():
    message = (
        r"12 weights are left out, and only 8 are pruned: product\.weight \(4x3\) belong to no layer .*"
        r"include=\[Linear, Product\]"
    )
    with pytest.warns(pm.LeftOutWarning, match=message):
        pm.prune(Net(), "magnitude", sparsity=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pm.prune(Net(), "magnitude", sparsity=0.5, include=[nn.Linear, Product]).left_out == ()
        # chosen, or outweighed
        assert pm.prune(Net(), "magnitude", sparsity=0.5, include=nn.Linear).left_out
        assert pm.prune(Net(), "magnitude", sparsity=0.5, exclude=Product).left_out
        assert pm.prune(Net(outputs=2), "magnitude", sparsity=0.5).left_out

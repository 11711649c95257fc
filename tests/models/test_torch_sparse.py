"""Masked weights as tensors of torch.sparse: the kept entries, all of them and no others."""

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.randomness import generator


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(24, 5))


@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_exactly_the_kept_entries_are_stored(model, layout):
    masks = pm.prune(model, "random", sparsity=0.7, seed=1)
    with torch.no_grad():
        model[2].weight[masks["2.weight"]] *= 0.0  # values of 0 are stored, too
    for name, matrix in masks.to_torch_sparse(model, layout=layout).items():
        weight = model.get_parameter(name)
        assert matrix.shape == weight.flatten(1).shape
        stored = matrix.values()
        assert len(stored) == int(masks[name].sum())
        assert torch.equal(stored, weight.detach()[masks[name]])
        assert torch.equal(matrix.to_dense(), (weight.detach() * masks[name]).flatten(1))


def test_products_are_those_of_the_masked_layers(model):
    masks = pm.prune(model, "random", sparsity=0.5, seed=1)
    matrices = masks.to_torch_sparse(model)
    masks.apply_(model)
    inputs = torch.randn(7, 24, generator=generator(0, "inputs"))
    product = torch.sparse.mm(matrices["2.weight"], inputs.T).T + model[2].bias
    torch.testing.assert_close(product, model[2](inputs))


def test_rows_without_a_kept_weight_and_masks_that_keep_all_or_nothing(model):
    keep = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool) for name in ("0.weight", "2.weight")}
    keep["2.weight"][3] = True
    matrices = pm.Masks(keep).to_torch_sparse(model)
    assert len(matrices["0.weight"].values()) == 0
    assert matrices["2.weight"].crow_indices().tolist() == [0, 0, 0, 0, 24, 24]


def test_an_unknown_layout_and_masks_of_another_model_are_refused(model):
    masks = pm.prune(model, "magnitude", sparsity=0.5)
    with pytest.raises(ValueError, match="unknown layout 'csc'; allowed: csr, coo"):
        masks.to_torch_sparse(model, layout="csc")
    with pytest.raises(ValueError, match=r"2\.weight"):
        masks.to_torch_sparse(nn.Sequential(nn.Conv2d(4, 6, 3, groups=2)))

"""Rounds that continue on one copy of the model, in another memory format, against a new copy for every round."""

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.models.plain import is_plain
from prunemark.models.zeroing import zero_newly_pruned_
from prunemark.pruning import scorer

SHAPE = (3, 18, 18)
source = torch.Generator().manual_seed(0)
DATA = [(torch.randn(12, *SHAPE, generator=source), torch.arange(12) % 4)]
pytestmark = pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")


def trained(name: str) -> nn.Module:
    """A network whose BatchNorm has statistics and shifts."""
    model = pm.network(name, input_shape=SHAPE, classes=4, seed=0, width=0.25)
    with torch.no_grad():
        model(DATA[0][0])
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_(0, 0.2, generator=source)
    return model


# Fewer rounds of SNIP and GraSP, which cut these narrow networks through: scores are rounding errors from there on.
@pytest.mark.parametrize("bn", ["eval", "train"])
@pytest.mark.parametrize(
    ("name", "method", "sparsity", "rounds"),
    [
        ("resnet-8", "synflow", 0.9, 30),
        ("vgg-16", "synflow", 0.9, 8),
        ("resnet-8", "snip", 0.5, 5),
        ("resnet-8", "grasp", 0.5, 5),
    ],
)
def test_masks_are_those_of_a_new_copy_in_every_round(name, method, sparsity, rounds, bn, monkeypatch):
    model = trained(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    given = {"input_shape": SHAPE} if method == "synflow" else {"data": DATA}
    asked = {"sparsity": sparsity, "rounds": rounds, "seed": 0, "bn": bn} | given
    continued = pm.prune(model, method, **asked)
    assert all(mask.is_contiguous() for mask in continued.values())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    monkeypatch.setattr(scorer, "is_plain", lambda model: False)
    afresh = pm.prune(model, method, **asked)
    assert continued == afresh
    assert continued.provenance == afresh.provenance


def test_a_copy_is_made_once_for_plain_models_and_in_every_round_for_others(monkeypatch):
    copies: list[nn.Module] = []
    copy = scorer.independent_copy
    monkeypatch.setattr(scorer, "independent_copy", lambda model, **given: copies.append(model) or copy(model, **given))

    class Own(nn.Sequential):
        pass

    for model, count in ((nn.Sequential(nn.Linear(4, 3)), 1), (Own(nn.Linear(4, 3)), 5)):
        copies.clear()
        pm.prune(model, "synflow", sparsity=0.5, rounds=5, input_shape=(4,))
        assert len(copies) == count


def test_plain_is_torch_and_ours_without_hooks():
    model = pm.network("resnet-8", input_shape=SHAPE, classes=4)
    assert is_plain(model)
    handle = model.fc.register_forward_pre_hook(lambda module, inputs: None)
    assert not is_plain(model)
    handle.remove()
    assert is_plain(model)
    model.fc.forward = lambda inputs: inputs
    assert not is_plain(model)


@pytest.mark.parametrize("size", [40, 400])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_a_mask_newly_prunes_is_set_to_zero(size, layout):
    shape = size, 20, 3, 3
    values = torch.randn(shape, generator=source).to(memory_format=layout)
    before, now = (torch.rand(shape, generator=source).to(memory_format=layout) < 0.7 for _ in range(2))
    values[~before] = 0
    expected = values.masked_fill(before & ~now, 0)
    zero_newly_pruned_(values, before, now)
    assert torch.equal(values, expected)
    assert not values[before & ~now].signbit().any()

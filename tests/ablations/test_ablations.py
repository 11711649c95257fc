import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import prunemark as pm
from prunemark.ablations import (
    CertificateError,
    NoEffectWarning,
    certify_invert,
    certify_reinit,
    certify_shuffle,
    reinitialize,
    shuffle,
)
from prunemark.masks import Masks
from prunemark.pruning.selection import select


def layer(kept: int, total: int) -> torch.Tensor:
    return torch.arange(total) < kept


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4), st.integers(0, 99))
@pytest.mark.filterwarnings("ignore::prunemark.ablations.NoEffectWarning")
def test_shuffling_keeps_every_layers_count(sizes, seed):
    masks = Masks({f"l{i}": layer(kept, kept + pruned + 1) for i, (kept, pruned) in enumerate(sizes)})
    shuffled = shuffle(masks, seed=seed)
    assert [c.kept for c in shuffled.layers()] == [c.kept for c in masks.layers()]
    changed = sum(int((masks[n] != shuffled[n]).sum()) for n in masks)
    assert shuffled.provenance["certificate"]["changed"] == changed


def test_every_arrangement_is_equally_likely():
    # 2 of 4 kept: 6 arrangements; chi-square with 5 degrees of freedom is below 20.5 with probability 0.999.
    masks = Masks({"w": layer(2, 4), "big": layer(50, 100)})
    draws = 3000
    counts = dict.fromkeys(itertools.combinations(range(4), 2), 0)
    for seed in range(draws):
        counts[tuple(shuffle(masks, seed=seed)["w"].nonzero().flatten().tolist())] += 1
    expected = draws / 6
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 20.5


def test_shuffle_is_named_by_seed_and_layer():
    masks = Masks({"a": layer(50, 100), "b": layer(50, 100)})
    assert shuffle(masks, seed=1) == shuffle(masks, seed=1)
    assert shuffle(masks, seed=1) != shuffle(masks, seed=2)
    assert not torch.equal(shuffle(masks, seed=1)["a"], shuffle(masks, seed=1)["b"])
    alone = Masks({"b": layer(50, 100)})
    assert torch.equal(shuffle(alone, seed=1)["b"], shuffle(masks, seed=1)["b"])


def test_what_was_inverted_before_it_was_shuffled_says_so(convnet):
    inverted = pm.prune(convnet, "magnitude", sparsity=0.8, invert=True)
    about = pm.shuffle(pm.shuffle(inverted), seed=1).provenance
    assert (about["ablation"], about["certificate"]["ablation"], about["method"]) == ("shuffle", "shuffle", "magnitude")
    assert about["before"]["ablation"] == "shuffle"
    assert about["before"]["before"] == inverted.provenance
    assert about["before"]["before"]["certificate"]["ablation"] == "invert"
    assert "before" not in pm.shuffle(pm.prune(convnet, "magnitude", sparsity=0.8)).provenance


def test_a_shuffle_that_cannot_change_anything_warns():
    masks = Masks({"full": layer(9, 9), "empty": layer(0, 9)})
    with pytest.warns(NoEffectWarning, match="changed no mask"):
        shuffled = shuffle(masks)
    assert shuffled.provenance["certificate"]["layers"] == {"full": "all kept", "empty": "all pruned"}


def test_an_identity_shuffle_is_not_certified():
    masks = Masks({"w": layer(500, 1000)})
    with pytest.raises(CertificateError, match="left the mask of w as it was"):
        certify_shuffle(masks, masks)


def test_a_shuffle_that_moves_weights_between_layers_is_not_certified():
    before = Masks({"a": layer(5, 10), "b": layer(5, 10)})
    after = Masks({"a": layer(4, 10), "b": layer(6, 10)})
    with pytest.raises(CertificateError, match="changed the count of a: 5 -> 4"):
        certify_shuffle(before, after)


def test_reinitialize_draws_everything_afresh_and_leaves_the_model_alone(convnet):
    before = copy.deepcopy(convnet.state_dict())
    state = torch.get_rng_state()
    fresh = reinitialize(convnet, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in convnet.state_dict().items())
    # reset_parameters of a BatchNorm gives ones: the distribution this model's modules document.
    assert (fresh.norm.weight == 1).all()
    assert not torch.equal(fresh.stem.weight, convnet.stem.weight)
    assert torch.equal(reinitialize(convnet, seed=3).stem.weight, fresh.stem.weight)
    assert not torch.equal(reinitialize(convnet, seed=4).stem.weight, fresh.stem.weight)


def test_reinitialize_refuses_a_distribution_it_cannot_know():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.scale = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match=r"the model \(Scale\) has parameters but no reset_parameters"):
        reinitialize(Scale(), seed=0)


def test_weights_that_did_not_change_are_not_certified(convnet):
    with pytest.raises(CertificateError, match=r"left stem.weight as it was"):
        certify_reinit(convnet, copy.deepcopy(convnet))


def test_invert_is_certified_on_the_result():
    scores = {"a": torch.arange(10.0), "b": torch.arange(10.0) + 0.5}
    inverted = select(scores, sparsity=0.5, invert=True)
    assert certify_invert(scores, inverted).changed == 20
    with pytest.raises(CertificateError, match="kept a score of 9"):
        certify_invert(scores, select(scores, sparsity=0.5))

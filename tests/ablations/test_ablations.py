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
from prunemark.models.initialization import other_distribution
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


class Plain(nn.Module):
    """Initialised as its modules' constructors do."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.fc = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Linear(16, 4)


def build():
    """Weights N(0, 0.5^2) and a normalisation that begins at 0, as after `model.apply(init)`."""
    model = Plain()
    for weight in (model.stem.weight, model.fc.weight):
        nn.init.normal_(weight, std=0.5)
    nn.init.zeros_(model.norm.weight)
    return model


def test_reinitialize_draws_everything_afresh_and_leaves_the_model_alone():
    model = Plain()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    fresh = reinitialize(model, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (fresh.norm.weight == 1).all()
    assert not torch.equal(fresh.stem.weight, model.stem.weight)
    assert torch.equal(reinitialize(model, seed=3).stem.weight, fresh.stem.weight)
    assert not torch.equal(reinitialize(model, seed=4).stem.weight, fresh.stem.weight)


def test_a_distribution_that_is_not_the_modules_own_is_not_guessed_at():
    torch.manual_seed(0)
    model = build()
    with pytest.raises(ValueError, match=r"not what reset_parameters\(\) draws .*: pass build="):
        reinitialize(model, seed=1)
    fresh = reinitialize(model, seed=1, build=build)
    assert 0.45 < fresh.stem.weight.std() < 0.55
    assert (fresh.norm.weight == 0).all()
    assert torch.equal(reinitialize(model, seed=1, build=build).fc.weight, fresh.fc.weight)
    assert not torch.equal(fresh.fc.weight, model.fc.weight)


def test_a_constant_alone_gives_a_distribution_away():
    model = Plain()
    nn.init.zeros_(model.norm.weight)
    with pytest.raises(ValueError, match=r"norm\.weight: all 0 against all 1"):
        reinitialize(model, seed=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(lambda: None, "must return a torch.nn.Module, not NoneType"), (lambda: nn.Linear(2, 2), "another network")],
)
def test_build_must_build_the_network(wrong, said):
    with pytest.raises(ValueError, match=said):
        reinitialize(build(), seed=1, build=wrong)


def test_build_must_draw_from_the_seed():
    model, shared = build(), build()

    def seeded():
        torch.manual_seed(5)
        return build()

    with pytest.raises(ValueError, match="the same weights whatever the seed"):
        reinitialize(model, seed=1, build=seeded)
    with pytest.raises(ValueError, match="the same module each time"):
        reinitialize(model, seed=1, build=lambda: shared)


def test_what_is_built_gets_the_precision_of_each_tensor_and_stays_frozen_where_the_model_is():
    def mixed():
        model = build()
        model.stem.half()
        model.register_buffer("table", torch.ones(2, dtype=torch.float64))
        return model

    model = mixed().eval()
    model.fc.weight.requires_grad_(False)
    model.norm.double()
    fresh = reinitialize(model, seed=1, build=mixed)
    dtypes = {name: tensor.dtype for name, tensor in fresh.state_dict().items()}
    assert dtypes == {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert [p.requires_grad for p in fresh.parameters()] == [p.requires_grad for p in model.parameters()]
    assert not fresh.training


def test_the_certificate_holds_the_new_weights_against_the_initial_ones():
    torch.manual_seed(0)
    initial, same, other = build(), build(), Plain()
    assert "distributed as the initial ones" in certify_reinit(initial, same, initial=initial).checked[1]
    with pytest.raises(CertificateError, match="another distribution than the initial one"):
        certify_reinit(initial, other, initial=initial)


def test_equal_distributions_are_told_apart_by_chance_only():
    told = 0
    for seed in range(300):
        torch.manual_seed(seed)
        one, other = ({name: torch.randn(size) for name, size in (("a", 40), ("b", 500), ("c", 3))} for _ in range(2))
        told += bool(other_distribution(one, other))
        assert other_distribution(one, {name: 3 * value for name, value in other.items()})
    assert told == 0


def test_many_small_tensors_tell_together_what_none_tells_alone():
    torch.manual_seed(0)
    one = {str(i): torch.randn(8) for i in range(200)}
    other = {str(i): 3 * torch.randn(8) for i in range(200)}
    assert other_distribution(one, other) == "200 tensors together, none by itself"


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

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunemark.masks import Masks
from prunemark.selection import keep_count, select

# Few distinct values, so that ties are the rule.
layer_values = st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=30)
networks = st.lists(layer_values, min_size=1, max_size=4).map(
    lambda layers: {f"layer{i}": torch.tensor(values) for i, values in enumerate(layers)}
)
sparsities = st.floats(0, 0.999)


def flat(tensors) -> np.ndarray:
    return torch.cat([tensor.flatten() for tensor in tensors.values()]).numpy()


@given(networks, sparsities)
def test_keeps_what_a_stable_sort_puts_first(scores, sparsity):
    masks = select(scores, sparsity=sparsity)
    keep = round((1 - sparsity) * len(flat(scores)))
    expected = np.zeros(len(flat(scores)), dtype=bool)
    expected[np.argsort(-flat(scores), kind="stable")[:keep]] = True
    np.testing.assert_array_equal(flat(masks), expected)


@given(networks, sparsities)
def test_inverted_choice_is_the_end_of_the_same_ranking(scores, sparsity):
    inverted = select(scores, sparsity=sparsity, invert=True)
    keep = round((1 - sparsity) * len(flat(scores)))
    ranking = np.argsort(-flat(scores), kind="stable")
    expected = np.zeros(len(ranking), dtype=bool)
    expected[ranking[len(ranking) - keep :]] = True
    np.testing.assert_array_equal(flat(inverted), expected)


@given(networks, sparsities, sparsities, st.booleans())
def test_a_pruned_weight_never_comes_back(scores, first, second, invert):
    low, high = sorted((first, second))
    before = select(scores, sparsity=low)
    after = select({name: -score for name, score in scores.items()}, sparsity=high, within=before, invert=invert)
    assert after.kept == round((1 - high) * after.total)
    assert not any((after[name] & ~before[name]).any() for name in scores)


def test_equal_magnitudes_keep_the_exact_count():
    # A public program leaves 0 of 119,400 such weights, because it prunes everything at or below a threshold.
    masks = select({"w": torch.full((300, 398), 0.3)}, sparsity=0.9)
    assert masks.kept == round((1 - 0.9) * 119_400)


def test_mixed_dtypes_are_compared_without_rounding():
    scores = {"a": torch.tensor([1.0]), "b": torch.tensor([1.0 + 1e-12, 1.0 - 1e-12], dtype=torch.float64)}
    masks = select(scores, sparsity=0.6)
    assert masks["b"].tolist() == [True, False]


def test_quotas_rank_within_each_layer():
    scores = {"a": torch.tensor([9.0, 8.0, 7.0]), "b": torch.tensor([1.0, 2.0, 3.0])}
    masks = select(scores, sparsity=0.5, quotas={"a": 1, "b": 2})
    assert masks["a"].tolist() == [True, False, False]
    assert masks["b"].tolist() == [False, True, True]


def test_quotas_must_add_up():
    scores = {"a": torch.arange(4.0), "b": torch.arange(4.0)}
    with pytest.raises(ValueError, match=r"quotas keep 3 weights of 2 layers; asked for are 4 weights of 2"):
        select(scores, sparsity=0.5, quotas={"a": 1, "b": 2})


def test_a_quota_larger_than_the_survivors_names_the_layer():
    scores = {"a": torch.arange(4.0), "b": torch.arange(4.0)}
    within = Masks({"a": torch.tensor([True, False, False, False]), "b": torch.ones(4, dtype=torch.bool)})
    with pytest.raises(ValueError, match="cannot keep 2 weights of a: only 1 survive"):
        select(scores, sparsity=0.5, quotas={"a": 2, "b": 2}, within=within)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_name_the_layer(bad):
    scores = {"fine": torch.zeros(3), "broken": torch.tensor([0.0, bad])}
    with pytest.raises(ValueError, match=r"scores of broken are not finite \(1 of 2 weights\)"):
        select(scores, sparsity=0.5)


@pytest.mark.parametrize("bad", [1.0, -0.1, 2.0, float("nan")])
def test_sparsity_outside_its_range_is_refused(bad):
    with pytest.raises(ValueError, match=r"in \[0, 1\); got"):
        keep_count(10, bad)

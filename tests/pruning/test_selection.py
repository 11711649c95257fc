import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunemark.masks import Masks
from prunemark.pruning import selection
from prunemark.pruning.quotas import quotas as layer_quotas
from prunemark.pruning.selection import keep_count, select, select_count

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


@pytest.mark.parametrize("joined", [0, 10_000])
@given(st.integers(0, 100), sparsities, st.booleans())
def test_the_memory_format_decides_nothing_not_even_between_ties(joined, seed, sparsity, invert):
    source = torch.Generator().manual_seed(seed)
    shapes = (4, 3, 3, 3), (5,), (6, 4, 2, 2)
    plain = {f"l{i}": torch.randint(3, shape, generator=source).float() for i, shape in enumerate(shapes)}
    moved = {n: s.to(memory_format=torch.channels_last) if s.ndim == 4 else s for n, s in plain.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_JOINED", joined)
        chosen = select(moved, sparsity=sparsity, invert=invert)
    keep = keep_count(len(flat(plain)), sparsity)
    assert flat(chosen).tolist() == by_stable_sort(plain, keep, invert=invert)


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


def by_stable_sort(scores, keep, *, invert=False, within=None) -> list[bool]:
    """The definition: survivors sorted by score, ties in order of position, and the first (inverted: last) kept."""
    values = torch.cat([score.flatten().double() for score in scores.values()]).numpy()
    alive = np.flatnonzero(flat(within)) if within is not None else np.arange(len(values))
    ranking = alive[np.argsort(-values[alive], kind="stable")]
    kept = np.zeros(len(values), dtype=bool)
    kept[ranking[len(ranking) - keep :] if invert else ranking[:keep]] = True
    return kept.tolist()


# A negative zero ties with zero; all of them are exact in every dtype.
exact_values = st.sampled_from([-96.0, -1.0, -0.0, 0.0, 1.0, 2.0, 64.0])
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8])


@given(
    layers=st.lists(st.tuples(dtypes, st.lists(exact_values, min_size=1, max_size=40)), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    bracket=st.one_of(st.none(), st.lists(exact_values, min_size=2, max_size=2).map(sorted)),
    piece=st.sampled_from([1, 7, 262_144]),
    invert=st.booleans(),
    rule=st.sampled_from([None, "uniform", "erk"]),
    data=st.data(),
)
def test_equals_a_stable_sort_whatever_the_sample_says(layers, order, bracket, piece, invert, rule, data):
    scores = {f"layer{i}": torch.tensor(values).to(dtype) for i, (dtype, values) in enumerate(layers)}
    total = sum(map(len, scores.values()))
    within = None
    if data.draw(st.booleans()):
        within = Masks({n: torch.tensor([order.random() < 0.6 for _ in score]) for n, score in scores.items()})
    keep = data.draw(st.integers(0, within.kept if within is not None else total))
    caps = {layer.name: layer.kept for layer in (within or Masks.ones(scores)).layers()}
    quotas = rule and layer_quotas(rule, {n: score.shape for n, score in scores.items()}, keep, caps=caps)
    with pytest.MonkeyPatch.context() as patch:
        if bracket is not None:
            patch.setattr(selection, "_bracket", lambda *_: bracket)
        patch.setattr(selection, "_PIECE", piece)
        masks = select_count(scores, keep, invert=invert, within=within, quotas=quotas)
    if quotas is None:
        expected = by_stable_sort(scores, keep, invert=invert, within=within)
    else:
        expected = []
        for n in scores:
            alive = within and {n: within[n]}
            expected += by_stable_sort({n: scores[n]}, quotas[n], invert=invert, within=alive)
    assert flat(masks).tolist() == expected


@pytest.mark.parametrize("bracket", [(5.5, 6.5), (-2.0, -1.0), (0.0, 2.0), (4.0, 4.0), (4.5, 4.5), (3.0, 9.0)])
def test_a_sample_that_is_wrong_changes_nothing(monkeypatch, bracket):
    scores = {"a": torch.tensor([4.0, 1, 5, 4, 3]), "b": torch.tensor([2.0, 4, 0, 5])}
    monkeypatch.setattr(selection, "_bracket", lambda *_: bracket)
    for keep in range(1, 9):
        assert flat(select_count(scores, keep)).tolist() == by_stable_sort(scores, keep)


@pytest.mark.parametrize("shape", ["distinct", "tied", "transposed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_large_layers_are_bracketed_by_a_sample_and_still_exact(monkeypatch, shape, dtype):
    source = torch.Generator().manual_seed(0)
    scores = {f"layer{i}": torch.randn(300, 500, generator=source, dtype=dtype) * 10.0**i for i in range(3)}
    if shape == "tied":
        scores = {name: score.round() for name, score in scores.items()}
    if shape == "transposed":
        scores = {name: score.T for name, score in scores.items()}
    within = Masks({name: torch.rand(score.shape, generator=source) < 0.5 for name, score in scores.items()})
    partitioned: list[int] = []
    whole = selection._kth_of
    monkeypatch.setattr(
        selection, "_kth_of", lambda pieces, k: partitioned.append(sum(map(len, pieces))) or whole(pieces, k)
    )
    for keep in (1, 2_000, 100_000, within.kept - 1):
        masks = select_count(scores, keep, within=within)
        assert flat(masks).tolist() == by_stable_sort(scores, keep, within=within)
    if shape != "tied":
        assert max(partitioned) < within.kept / 10


def test_equal_magnitudes_keep_the_exact_count():
    # A public program leaves 0 of 119,400 such weights, because it prunes everything at or below a threshold.
    masks = select({"w": torch.full((300, 398), 0.3)}, sparsity=0.9)
    assert masks.kept == round((1 - 0.9) * 119_400)


def test_mixed_dtypes_are_compared_without_rounding():
    scores = {"a": torch.tensor([1.0]), "b": torch.tensor([1.0 + 1e-12, 1.0 - 1e-12], dtype=torch.float64)}
    masks = select(scores, sparsity=0.6)
    assert masks["b"].tolist() == [True, False]


def test_whole_numbers_are_compared_exactly():
    large = 2**24
    masks = select({"w": torch.tensor([large, large + 1])}, sparsity=0.5)
    assert masks["w"].tolist() == [False, True]
    masks = select({"w": torch.tensor([large, large + 1], dtype=torch.int32)}, sparsity=0.5, invert=True)
    assert masks["w"].tolist() == [True, False]


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


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.tensor([2**60, 2**60 + 1]), "hold whole numbers beyond 2^53"),
        (torch.tensor([-(2**60), 0]), "hold whole numbers beyond 2^53"),
        (torch.tensor([1j, 2.0]), "must be a tensor of real numbers, not torch.complex64"),
        ([1.0, 2.0], "must be a tensor of real numbers, not list"),
    ],
)
def test_scores_that_cannot_be_ranked_name_the_layer(bad, said):
    with pytest.raises(ValueError, match=re.escape(f"scores of broken {said}")):
        select({"fine": torch.zeros(3), "broken": bad}, sparsity=0.5)


def test_large_whole_numbers_are_ranked_exactly():
    masks = select({"a": torch.tensor([2**52 + 1, 2**52, 2**52 + 3, 2**52 + 2])}, sparsity=0.5)
    assert masks["a"].tolist() == [False, False, True, True]


@pytest.mark.parametrize("bad", [1.0, -0.1, 2.0, float("nan")])
def test_sparsity_outside_its_range_is_refused(bad):
    with pytest.raises(ValueError, match=r"in \[0, 1\); got"):
        keep_count(10, bad)

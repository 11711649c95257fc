import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prunemark as pm
from prunemark.masks import Masks
from prunemark.models.prunable import prunable
from prunemark.pruning.quotas import quotas

SHAPES = {"conv1": (16, 3, 3, 3), "conv2": (32, 16, 3, 3), "conv3": (64, 32, 3, 3), "fc": (10, 64)}
SIZES = {name: math.prod(shape) for name, shape in SHAPES.items()}
TOTAL = sum(SIZES.values())
rules = pytest.mark.parametrize("rule", ["uniform", "uniform-plus", "erk", "igq"])
shapes = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple), min_size=1, max_size=6).map(
    lambda layers: {f"l{i}": shape for i, shape in enumerate(layers)}
)


@given(shapes, st.floats(0, 1), st.sampled_from(["uniform", "erk", "igq"]))
def test_counts_add_up_exactly_and_fit_the_layers(shapes, density, rule):
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    keep = round(density * sum(sizes.values()))
    counts = quotas(rule, shapes, keep)
    assert list(counts) == list(shapes)
    assert sum(counts.values()) == keep
    assert all(0 <= counts[name] <= sizes[name] for name in sizes)


@given(st.floats(0.01, 1))
def test_uniform_is_within_one_weight_of_the_same_density(density):
    keep = round(density * TOTAL)
    counts = quotas("uniform", SHAPES, keep)
    assert all(abs(counts[name] - keep * size / TOTAL) < 1 for name, size in SIZES.items())


def test_erk_by_hand():
    # Proportional to 25, 54, 102, 74: at 2,000 of 24,112 kept 196.1, 423.5, 800, 580.4; no layer is full.
    assert quotas("erk", SHAPES, 2000) == {"conv1": 196, "conv2": 424, "conv3": 800, "fc": 580}
    # At 6,000 conv1 (432 weights) would get 588, fc (640) then 1,792 of its 74 / 230 share: both are full.
    full = quotas("erk", SHAPES, 6000)
    assert (full["conv1"], full["fc"]) == (432, 640)
    assert full["conv2"] == round(4928 * 54 / 156)
    assert sum(full.values()) == 6000


def test_igq_presses_every_layer_with_one_force():
    counts = quotas("igq", SHAPES, 3000)
    forces = [(SIZES[name] / counts[name] - 1) / SIZES[name] for name in SIZES]
    assert max(forces) / min(forces) < 1.01
    assert counts["conv1"] / SIZES["conv1"] > counts["conv3"] / SIZES["conv3"]


def test_uniform_plus_keeps_the_first_convolution_and_a_fifth_of_the_last_layer():
    counts = quotas("uniform-plus", SHAPES, 2000)
    assert (counts["conv1"], counts["fc"]) == (432, 128)
    assert abs(counts["conv2"] / SIZES["conv2"] - counts["conv3"] / SIZES["conv3"]) < 1e-3
    with pytest.raises(ValueError, match="560 weights, but only 500 are to be kept"):
        quotas("uniform-plus", SHAPES, 500)


def test_patterns_by_hand():
    # 90 % of 432, 4,608 and 18,432 weights are pruned; of the 2,400 that are kept the last layer gets what is left.
    counts = quotas({"conv*": 0.9}, SHAPES, 2400)
    assert counts == {"conv1": 43, "conv2": 461, "conv3": 1843, "fc": 53}
    # What is left, 1,000, is shared in proportion to 4,608 and 18,432 weights.
    shared = {"conv1": 216, "conv2": 200, "conv3": 800, "fc": 320}
    assert quotas({"fc": 0.5, "conv1": 0.5}, SHAPES, 1536) == shared
    # Each of two layers alone would keep 2 of 5, 4 in all; together they keep 5.
    assert quotas({"*": 0.5}, {"a": (5, 1), "b": (5, 1)}, 5) == {"a": 3, "b": 2}


@given(st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0, 1))
def test_patterns_are_exact_layer_by_layer_and_in_all(first, last, share):
    fixed = {"conv1": round((1 - first) * SIZES["conv1"]), "fc": round((1 - last) * SIZES["fc"])}
    others = SIZES["conv2"] + SIZES["conv3"]
    left = round(share * others)
    counts = quotas({"conv1": first, "f?": last}, SHAPES, sum(fixed.values()) + left)
    assert {name: counts[name] for name in fixed} == fixed
    assert counts["conv2"] + counts["conv3"] == left
    assert abs(counts["conv2"] - left * SIZES["conv2"] / others) < 1


@pytest.mark.parametrize(
    ("table", "keep", "message"),
    [
        ({"conv": 0.5}, 2000, 'the pattern "conv" matches no layer; layers: conv1, conv2, conv3, fc'),
        ({"conv1": 0.5, "*1": 0.5}, 2000, 'conv1 is matched by "conv1" and "\\*1": one pattern per layer'),
        ({"x": 0.5, "fc": 2}, 2000, 'the pattern "x" matches .*; "fc": sparsity is the pruned fraction.*; got 2'),
        ({"conv3": 0.5}, 2000, "the patterns keep 9,216 at least, but 2,000 weights are to be kept"),
        ({"conv3": 0.9}, 9000, "keep 7,523 at most, with all of the other layers, but 9,000 weights are to be kept"),
        ({"*": 0.5}, 12_058, "the patterns match every layer and keep 12,056 weights, but 12,058 are to be kept"),
        ({}, 2000, "a table of patterns needs at least one"),
    ],
)
def test_patterns_that_cannot_be_met(table, keep, message):
    with pytest.raises(ValueError, match=message):
        quotas(table, SHAPES, keep)


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("rounds", [1, 10])
def test_pruning_by_patterns_is_exact_in_any_number_of_rounds(convnet, batches, rounds, invert):
    sizes = {name: weight.numel() for name, weight in prunable(convnet).items()}
    first, *_ = sizes
    table = {first: 0.25}
    masks = pm.prune(convnet, "snip", sparsity=0.8, data=batches, rounds=rounds, quotas=table, invert=invert)
    kept = {count.name: count.kept for count in masks.layers()}
    assert masks.kept == round(0.2 * masks.total)
    assert kept == quotas(table, {name: weight.shape for name, weight in prunable(convnet).items()}, masks.kept)
    assert kept[first] == round(0.75 * sizes[first])
    assert masks.provenance["quotas"] == table


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")
@rules
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
@pytest.mark.parametrize("rounds", [1, 10])
@pytest.mark.parametrize("method", ["random", "snip"])
def test_every_method_and_number_of_rounds_takes_quotas(convnet, batches, rule, sparsity, rounds, method):
    masks = pm.prune(convnet, method, sparsity=sparsity, data=batches, rounds=rounds, quotas=rule)
    sizes = {name: weight.shape for name, weight in prunable(convnet).items()}
    expected = quotas(rule, sizes, round((1 - sparsity) * masks.total))
    assert all(abs(count.kept - expected[count.name]) <= (rounds > 1) for count in masks.layers())
    assert masks.kept == round((1 - sparsity) * masks.total)


def test_quotas_taken_from_masks(convnet, batches):
    snip = pm.prune(convnet, "snip", sparsity=0.9, data=batches)
    for rounds in (1, 7):
        random = pm.prune(convnet, "random", sparsity=0.9, quotas=snip, rounds=rounds)
        assert [c.kept for c in random.layers()] == [c.kept for c in snip.layers()]
        assert random != snip


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")
def test_inverting_within_quotas_is_certified_within_layers(convnet, batches):
    plain = pm.prune(convnet, "snip", sparsity=0.5, data=batches, quotas="uniform")
    inverted = pm.prune(convnet, "snip", sparsity=0.5, data=batches, quotas="uniform", invert=True)
    assert [c.kept for c in plain.layers()] == [c.kept for c in inverted.layers()]
    assert inverted.provenance["certificate"]["ablation"] == "invert"
    assert all(torch.equal(inverted[n], ~plain[n]) for n in plain if plain[n].numel() == 2 * int(plain[n].sum()))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("erl", 'unknown quota rule "erl"; known: erk, igq, uniform, uniform-plus; did you mean "erk"'),
        (Masks({"x": torch.ones(3, dtype=torch.bool)}), "masks of the same layers"),
    ],
)
def test_wrong_quotas(convnet, rule, message):
    with pytest.raises(ValueError, match=message):
        pm.prune(convnet, "random", sparsity=0.5, quotas=rule)


def test_masks_that_keep_more_than_asked(convnet, batches):
    snip = pm.prune(convnet, "snip", sparsity=0.5, data=batches)
    with pytest.raises(ValueError, match="more than the"):
        pm.prune(convnet, "random", sparsity=0.9, quotas=snip)

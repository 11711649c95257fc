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

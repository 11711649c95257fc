"""Conformance with the original authors' programs; see tests/golden/README.md."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import prunemark as pm

GOLDEN = Path(__file__).parents[1] / "golden" / "mlp.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture
def mlp(golden):
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    for name, inputs, outputs in [("fc1", 64, 48), ("fc2", 48, 32), ("fc3", 32, 10)]:
        net.add_module(name, nn.Linear(inputs, outputs))
        if name != "fc3":
            net.add_module(f"{name}_relu", nn.ReLU())
    net.load_state_dict({name.removeprefix("state/"): v for name, v in golden.items() if name.startswith("state/")})
    return net


def of(golden, key):
    return {name.removeprefix(f"{key}/"): value for name, value in golden.items() if name.startswith(f"{key}/")}


def assert_scores_agree(ours, theirs, *, normalise):
    total = sum(score.sum() for score in ours.values()) if normalise else 1
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        # Float32 leaves no relative digits in scores that cancel to almost nothing: 1e-4, or 1e-6 of the largest.
        torch.testing.assert_close(
            (ours[name] / total).float(), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()) * 3
        )


def disagreements(ours, theirs):
    return sum(int((ours[name] != theirs[name]).sum()) for name in theirs)


@pytest.mark.parametrize("method", ["snip", "grasp"])
@pytest.mark.parametrize("bn", ["train", "eval"])
def test_scores_of_synaptic_flow_program(golden, mlp, method, bn):
    ours = pm.score(mlp, method, data=[(golden["x"], golden["y"])], bn=bn)
    assert_scores_agree(ours, of(golden, f"{method}_{bn}_score"), normalise=True)


def test_synflow_and_magnitude_scores(golden, mlp):
    assert_scores_agree(
        pm.score(mlp, "synflow", input_shape=(1, 8, 8)), of(golden, "synflow_eval_score"), normalise=False
    )
    assert_scores_agree(pm.score(mlp, "magnitude"), of(golden, "mag_eval_score"), normalise=False)


def test_snip_mask(golden, mlp):
    masks = pm.prune(mlp, "snip", sparsity=0.9, data=[(golden["x"], golden["y"])])
    theirs = of(golden, "snip_mask_0.1")
    assert masks.kept == 493
    # The program kept 492, one fewer than round(0.1 * 4928).
    assert sum(int(mask.sum()) for mask in theirs.values()) == 492
    assert disagreements(masks, theirs) == 1


@pytest.mark.parametrize("method", ["synflow", "synflow:synaptic-flow"])
@pytest.mark.parametrize("density", [0.1, 0.02])
def test_synflow_masks_of_100_rounds(golden, mlp, method, density):
    masks = pm.prune(mlp, method, sparsity=1 - density, input_shape=(1, 8, 8))
    assert masks.kept == round(density * 4928)
    assert disagreements(masks, of(golden, f"synflow100_mask_{density}")) == 0


def test_synflow_with_the_nearest_count_in_each_round_decides_otherwise(golden, mlp):
    # What one weight more or less in a round does: the reason why SynFlow counts as its authors' program does.
    masks = pm.prune(mlp, "synflow", sparsity=0.9, input_shape=(1, 8, 8), keeps_ceiling=False)
    theirs = of(golden, "synflow100_mask_0.1")
    assert masks.kept == sum(int(mask.sum()) for mask in theirs.values())
    assert 0 < disagreements(masks, theirs) / 2 / masks.kept <= 0.06


def test_grasp_of_halves(golden, mlp):
    order = golden["y"].argsort(stable=True)
    grouped = [(golden["x"][order], golden["y"][order])]
    masks = pm.prune(mlp, "grasp:halves", sparsity=0.9, data=grouped)
    theirs = of(golden, "grasp_orig_halves_mask_0.1")
    # The program keeps one weight more than round(0.1 * 4928).
    assert sum(int(mask.sum()) for mask in theirs.values()) == masks.kept + 1 == 494
    assert disagreements(masks, theirs) == 1


def test_snip_of_mil_ad_without_redrawing(golden, mlp):
    data = [(golden["x"], golden["y"])]
    masks = pm.prune(mlp, "snip:mil-ad", sparsity=0.9, data=data, redraw=False)
    assert disagreements(masks, of(golden, "snip_mask_0.1")) == 1
    assert pm.prune(mlp, "snip:mil-ad", sparsity=0.9, data=data) != masks


def test_snip_of_synaptic_flow(golden, mlp):
    ours = pm.score(mlp, "snip:synaptic-flow", data=[(golden["x"], golden["y"])])
    assert_scores_agree(ours, of(golden, "snip_eval_score"), normalise=False)

"""Weights that a method said nothing about are counted and named; a mask that no method chose is an error."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.pruning.unscored import unscored

PRODUCTS = [name for name in METHODS if METHODS[name].load().zero_means == "unscored"]


class Block(nn.Module):
    """A residual branch whose last normalisation begins at 0: no gradient reaches its convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)))


@pytest.fixture
def silent() -> nn.Sequential:
    """432 + 2 * 2304 + 160 prunable weights, 4608 of them in silent branches."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3), Block(16), Block(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
        )


source = torch.Generator().manual_seed(0)
IMAGES = [(torch.randn(20, 3, 8, 8, generator=source), torch.arange(20) % 10)]


def silence(masks, scores):
    return {n: count for n in masks if (count := int((masks[n] & (scores[n] == 0)).sum()))}


# ProsPr trains the normalisation for three steps before it scores; NTK-SAP and mil-ad draw weights of their own.
@pytest.mark.parametrize("method", [name for name in PRODUCTS if name not in ("prospr", "snip:mil-ad", "ntk-sap")])
def test_kept_weights_without_a_score_are_counted_where_a_user_looks(silent, method):
    with pytest.warns(pm.UnscoredWarning, match=r"score of exactly 0, in .*1\.conv\.weight 2,304"):
        masks = pm.prune(silent, method, sparsity=0.4, rounds=1, data=IMAGES)
    expected = silence(masks, pm.score(silent, method, data=IMAGES))
    assert masks.provenance["unscored"] == expected
    assert masks.unscored == sum(expected.values()) > 2304
    assert f"unscored: {masks.unscored:,} kept weights" in str(masks)
    assert pm.shuffle(masks).provenance["certificate"]["unscored"] == masks.unscored


@pytest.mark.parametrize("method", ["magnitude", "random", "phew"])
def test_a_score_of_zero_is_a_score_of_methods_that_look_at_no_gradient(silent, method):
    nn.init.zeros_(silent[-1].weight)
    masks = pm.prune(silent, method, sparsity=0.01, input_shape=(3, 8, 8))
    assert masks.unscored == 0
    assert "unscored" not in str(masks)


def test_all_kept_is_no_choice(silent):
    assert pm.prune(silent, "snip", sparsity=0, data=IMAGES).unscored == 0


def test_position_of_an_earlier_round_counts_and_a_quota_that_keeps_a_layer_does_not():
    ties = {"a.weight": torch.tensor([[0.0, 0, 0, 2]]), "b.weight": torch.tensor([[0.0, 1]])}
    model = nn.Module()
    model.a, model.b = nn.Linear(4, 1, bias=False), nn.Linear(2, 1, bias=False)
    with pytest.warns(pm.UnscoredWarning, match=r"1 of the 2 kept .* in a\.weight 1"):
        masks = pm.prune(
            model,
            lambda problem: ties if problem.round == 1 else {n: s + (s == 0) * 9.0 for n, s in ties.items()},
            sparsity=2 / 3,
            rounds=2,
        )
    assert masks.provenance["unscored"] == {"a.weight": 1}
    chosen = pm.Masks({"a.weight": torch.tensor([[True, False, False, True]]), "b.weight": torch.ones(1, 2).bool()})
    counted = unscored(ties, chosen, meaning="unscored", per_layer=True)
    assert {name: int(mask.sum()) for name, mask in counted.items()} == {"a.weight": 1}


def test_zeros_of_an_unknown_function_count_only_where_position_decided():
    scores = {"a": torch.tensor([3.0, 0, -1, 0])}
    above, among = (
        pm.Masks({"a": torch.tensor(kept)}) for kept in ([True, True, False, True], [True, True, False, False])
    )
    assert unscored(scores, above, meaning="unknown") == {}
    assert unscored(scores, above, meaning="unscored", moment="earlier round") == {}
    assert int(unscored(scores, above, meaning="unscored")["a"].sum()) == 2
    assert int(unscored(scores, among, meaning="unknown")["a"].sum()) == 1


@pytest.mark.parametrize("method", [m for m in PRODUCTS if METHODS[m].needs_data])
def test_scores_that_are_all_zero_are_an_error_that_names_layers_and_a_way_out(method):
    class Blind(nn.Linear):
        def forward(self, x):
            return super().forward(x).sign()  # whose gradient is 0

    model = nn.Sequential(nn.Linear(6, 8), Blind(8, 3))
    batches = [(torch.randn(12, 6), torch.arange(12) % 3)]
    for call in (pm.score, lambda *a, **k: pm.prune(*a, sparsity=0.5, **k)):
        with pytest.raises(ValueError, match=r"every score is exactly 0, in 0\.weight, 1\.weight: .*loss="):
            call(model, method, data=batches)


def test_a_network_that_its_own_rounds_cut_through_is_a_finding_and_not_an_error():
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    with pytest.warns(pm.UnscoredWarning, match="more rounds than the network survives"):
        masks = pm.prune(model, "synflow", sparsity=0.98, rounds=4, input_shape=(6,), invert=True)
    assert masks.unscored == masks.kept == 1


def test_a_loss_forgotten_in_regression_is_refused_and_a_given_one_works():
    model, x = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1)), torch.randn(64, 6)
    data = [(x, x[:, :1])]
    with pytest.raises(ValueError, match=r"one output.*pass loss="):
        pm.prune(model, "snip", sparsity=0.9, data=data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pm.UnscoredWarning)
        assert pm.prune(model, "snip", sparsity=0.9, data=data, loss=F.mse_loss).kept == 22


def test_a_loss_that_is_not_finite_is_an_error_though_all_scores_are_finite():
    model = nn.Linear(6, 3)
    with pytest.raises(ValueError, match=r"the loss of a batch is nan: is every target ignored"):
        pm.prune(model, "snip", sparsity=0.5, data=[(torch.randn(8, 6), torch.full((8,), -100))])


def test_an_inversion_says_when_position_chose_and_among_how_many():
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    scores = {"0.weight": torch.zeros(8, 6), "2.weight": torch.ones(3, 8)}
    scores["0.weight"][0, 0] = 2
    with pytest.warns(pm.UnscoredWarning):
        masks = pm.prune(model, lambda _: scores, sparsity=0.5, invert=True)
    proof = masks.provenance["certificate"]
    assert (proof["tied"], proof["undefined_from"], proof["unscored"]) == (47, 1, 36)
    assert (
        "order undefined from round 1: among weights that tied at the cut position chose (47 in round 1)"
        in proof["checked"]
    )
    different = {name: torch.arange(s.numel()).view_as(s) + 100 * i for i, (name, s) in enumerate(scores.items())}
    proof = pm.prune(model, lambda _: different, sparsity=0.5, invert=True).provenance["certificate"]
    assert (proof["tied"], proof["undefined_from"], proof["unscored"]) == (0, None, 0)

    def tie_in_round_two(problem):
        return scores if problem.round > 1 else different

    with pytest.warns(pm.UnscoredWarning):
        masks = pm.prune(model, tie_in_round_two, sparsity=0.5, rounds=3, invert=True)
    assert masks.provenance["certificate"]["undefined_from"] == 2

"""PHEW: every kept weight lies on a path of kept weights, judged by synaptic flow, which knows nothing of walks."""

import copy

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.methods.phew.walks import Walks
from prunemark.methods.phew.wiring import wire
from prunemark.models.calling import call
from prunemark.models.prunable import prunable
from prunemark.randomness import generator


def without_path(model, masks, input_shape) -> int:
    """Number of kept weights on no input-output path of kept kernels: their kernels have no synaptic flow.

    Whole kernels, since entries off the centre shift a small image out of sight.
    """
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0 if name.endswith("bias") else 1)
    whole = {}
    for name, mask in masks.items():
        entries = tuple(range(2, mask.ndim))
        whole[name] = mask.any(entries, keepdim=True).expand_as(mask).clone() if entries else mask
    flow = pm.score(model, "synflow", input_shape=input_shape, within=pm.Masks(whole))
    strays = 0
    for name, mask in masks.items():
        entries = tuple(range(2, mask.ndim))
        silent = (flow[name].sum(entries, keepdim=True) if entries else flow[name]) == 0
        strays += int((mask & silent).sum())
    return strays


def flattening():
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 10, 2, groups=5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 3),
    )  # fmt: skip


MODELS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 20), nn.Linear(20, 4)), (10,), 3),
    "flattening": (flattening, (2, 5, 5), 4),
    "resnet-20": (lambda: pm.network("resnet-20", input_shape=(3, 8, 8), classes=10), (3, 8, 8), 20),
}


@pytest.mark.parametrize("name", MODELS)
def test_kept_weights_lie_on_paths_of_kept_weights_but_for_the_walk_that_the_count_cuts(name):
    make, shape, depth = MODELS[name]
    model = make()
    scores = pm.score(model, "phew", input_shape=shape, coverage=0.5)
    total = sum(score.numel() for score in scores.values())
    steps = range(1, total, max(1, total // 40))
    strays = [without_path(model, pm.select(scores, sparsity=1 - keep / total), shape) for keep in steps]
    assert max(strays) < depth
    # From half of the weights on, whole units are met, and each further weight lies on a path by itself.
    assert not any(strays[len(strays) * 2 // 3 :])
    random = pm.select(pm.score(model, "random"), sparsity=1 - steps[2] / total)
    assert without_path(model, random, shape) > max(strays)


def test_residual_networks_keep_paths_through_blocks_and_shortcuts(convnet):
    masks = pm.prune(convnet, "phew", sparsity=0.9, input_shape=(2, 6, 6))
    assert without_path(convnet, masks, (2, 6, 6)) < 3
    assert all(count.kept > 0 for count in masks.layers())


def test_one_walk_at_a_time_meets_whole_paths():
    # In a chain of units of width 1, the first walk meets everything; scores fall along it.
    net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1))
    scores = [float(score) for score in pm.score(net, "phew", input_shape=(1,)).values()]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3


def test_the_first_step_prefers_large_weights():
    net = nn.Sequential(nn.Linear(1, 3, bias=False), nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-3.0], [6.0]]))
    first = torch.zeros(3)
    for seed in range(200):
        first[pm.score(net, "phew", input_shape=(1,), seed=seed)["0.weight"].argmax()] += 1
    expected = 200 * torch.tensor([0.1, 0.3, 0.6])
    # chi-square with two degrees of freedom: 13.8 is its 99.9 % point.
    assert float(((first - expected).square() / expected).sum()) < 13.8


def test_walks_alternate_between_input_and_output_units_in_turn():
    net = nn.Sequential(nn.Linear(4, 500), nn.Linear(500, 3))
    weights = {name: weight.detach() for name, weight in prunable(net).items()}
    everything = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    walks = Walks(wire(net, call, (4,)), weights, everything, generator(0, "test"))
    walks.go(4)
    into, out_of = walks.first_met().values()
    assert walks.met == 4 * 4  # no two of the 8 walks share a weight
    for turn in range(4):
        forward, backward = 4 * turn, 4 * turn + 2
        assert (into == forward).nonzero().item() % 4 == turn
        assert (out_of == backward).nonzero().item() // 500 == turn % 3


def test_a_unit_that_no_walk_finds_gets_a_walk_of_its_own():
    # Otherwise its weights, the smallest, would be the last to come, and the count could keep one without the other.
    net = nn.Sequential(nn.Linear(10, 20, bias=False), nn.Linear(20, 10, bias=False))
    with torch.no_grad():
        net[0].weight[7] = 1e-12
        net[1].weight[:, 7] = 1e-12
    scores = pm.score(net, "phew", input_shape=(10,), coverage=0.5)
    ranked = torch.cat([score.flatten() for score in scores.values()]).sort(descending=True).values
    middle = float(ranked[len(ranked) * 3 // 4])
    assert (scores["0.weight"][7] > middle).sum() == 1
    assert (scores["1.weight"][:, 7] > middle).sum() == 1


def test_walks_prefer_larger_weights_than_random():
    net = MODELS["perceptron"][0]()
    masks = pm.prune(net, "phew", sparsity=0.8, input_shape=(10,))
    for name, weight in prunable(net).items():
        assert weight[masks[name]].abs().mean() > weight[~masks[name]].abs().mean()


def test_weights_on_no_path_come_last():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    masks = pm.prune(net, "random", sparsity=0.0)
    masks["1.weight"][:, 1] = False  # hidden unit 1 leads nowhere
    masks["0.weight"][2] = False  # hidden unit 2 comes from nowhere
    masks = pm.Masks(dict(masks))
    scores = pm.score(net, "phew", input_shape=(3,), within=masks)
    assert (scores["0.weight"][[0, 3]] > 0).all()
    assert (scores["0.weight"][1] < 0).all()
    assert (scores["1.weight"][:, 2] < 0).all()
    for name in masks:
        assert (scores[name][~masks[name]] == -1).all()
        assert (scores[name][masks[name]] > -1).all()
    cut = pm.Masks({"0.weight": masks["0.weight"], "1.weight": torch.zeros(2, 4, dtype=torch.bool)})
    assert all((score <= 0).all() for score in pm.score(net, "phew", input_shape=(3,), within=cut).values())


def test_every_weight_has_a_score_of_its_own():
    net = nn.Sequential(nn.Linear(1000, 800, bias=False), nn.ReLU(), nn.Linear(800, 700, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight.sign())  # all of one magnitude
    masks = pm.prune(net, "random", sparsity=0.5)
    scores = torch.cat([s.flatten() for s in pm.score(net, "phew", input_shape=(1000,), within=masks).values()])
    assert scores.dtype == torch.float32
    assert len(scores.unique()) == masks.kept + 1
    assert float(scores.max()) <= 1


def test_layers_left_out_are_walked_through(convnet):
    scores = pm.score(convnet, "phew", input_shape=(2, 6, 6), exclude=["stem.weight", "head.weight"])
    assert set(scores) == {"down.weight", "shortcut.weight"}
    assert all((score > 0).all() for score in scores.values())


def test_weights_of_zero_do_not_stop_it():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight[:, 1] = 0
        net[1].weight.zero_()
    masks = pm.prune(net, "phew", sparsity=0.5, input_shape=(3,), coverage=1.0)
    assert masks.kept == 10


def test_a_layer_used_twice(batches):
    layer = nn.Linear(6, 6)
    net = nn.Sequential(nn.Linear(3, 6), layer, nn.ReLU(), layer, nn.Linear(6, 2))
    masks = pm.prune(net, "phew", sparsity=0.7, input_shape=(3,))
    assert list(masks) == ["0.weight", "1.weight", "4.weight"]
    assert without_path(net, masks, (3,)) < 4


def test_tokens_enter_behind_the_embedding():
    tokens = nn.Sequential(nn.Embedding(10, 6), nn.Flatten(), nn.Linear(30, 3))
    with pytest.raises(ValueError, match=r"through Sequential, fed one tensor of floats of shape \(5,\) without"):
        pm.score(tokens, "phew", input_shape=(5,))
    masks = pm.prune(tokens, "phew", sparsity=0.5, input_shape=(5, 6), forward=lambda model, x: model[2](model[1](x)))
    assert masks.kept == 45


def test_what_include_names_must_be_walked_through():
    net = nn.Sequential(nn.Embedding(6, 8), nn.Linear(8, 3))
    with pytest.raises(ValueError, match=r"include= names 0\.weight, which is neither"):
        pm.score(net, "phew", input_shape=(6,), include=[nn.Linear, nn.Embedding])


@pytest.mark.parametrize("method", ["phew", "synflow", "ntk-sap"])
def test_inputs_of_several_tensors_need_a_forward_that_takes_one(method):
    model = nn.ModuleDict({"fc": nn.Linear(6, 2)})
    batches = [((torch.rand(4, 3), torch.rand(4, 3)), torch.tensor([0, 1, 0, 1]))]
    with pytest.raises(ValueError, match=r"not one tensor: pass forward=.* its input_shape="):
        pm.score(model, method, data=batches)
    scores = pm.score(model, method, forward=lambda model, x: model["fc"](x), input_shape=(6,))
    assert scores["fc.weight"].shape == (2, 6)


def test_bad_input(convnet):
    with pytest.raises(ValueError, match="PHEW walks from the input: pass input_shape="):
        pm.score(convnet, "phew")
    with pytest.raises(ValueError, match=r"coverage is a fraction in \(0, 1\]; got 0"):
        pm.score(convnet, "phew", input_shape=(2, 6, 6), coverage=0)
    with torch.no_grad():
        convnet.stem.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"weights of stem\.weight are not finite"):
        pm.score(convnet, "phew", input_shape=(2, 6, 6))


def test_an_identity_shortcut_skips_no_block_and_a_convolution_shortcut_replaces_two_layers_half_the_time():
    net = pm.network("resnet-20", input_shape=(3, 8, 8), classes=10)
    weights = {name: weight.detach() for name, weight in prunable(net).items()}
    everything = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    wiring = wire(net, call, (3, 8, 8))
    lengths = []
    for seed in range(60):
        walks = Walks(wiring, weights, everything, generator(seed, "test"))
        walks.go(1)
        ranks = walks.first_met()
        # The walk forward ends in the last layer, where the one backward begins, unless with the same weight.
        last = int(ranks["fc.weight"].min()) + 1
        lengths += [last, walks.met - last]
    # 20 layers, less one (two convolutions, plus one shortcut) at each of two changes of resolution. Where both
    # walks of a pair meet one weight, the second counts it no more.
    counts = torch.tensor(lengths).bincount(minlength=21)
    assert counts[17:].sum() >= 118
    assert counts[:16].sum() == 0
    expected = 120 * torch.tensor([0.25, 0.5, 0.25])
    assert (counts[18:] - expected).abs().max() < 4 * (120 * 0.25) ** 0.5


class Chosen(nn.Module):
    """Two layers, with a frozen 0/1 choice among the units between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
        self.chosen = nn.Parameter(torch.tensor([1.0, 0.0, 1.0, 1.0]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(torch.relu(self.a(x)) * self.chosen)


def test_a_frozen_choice_counts():
    scores = pm.score(Chosen(), "phew", input_shape=(3,))
    on_path = torch.tensor([True, False, True, True])
    assert torch.equal((scores["a.weight"] > 0).all(1), on_path)
    assert torch.equal((scores["o.weight"] > 0).all(0), on_path)
    assert (scores["a.weight"][1] < 0).all()

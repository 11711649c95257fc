"""The contract that every method in METHODS fulfils, and what `prune` adds to a method."""

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.methods.base import Problem
from prunemark.models.prunable import prunable
from prunemark.pruning.quotas import quotas as layer_quotas

# Where little is kept, or the ranking is inverted, units that no example activates decide; see test_unscored.
pytestmark = pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")

names = pytest.mark.parametrize("method", METHODS)
# Their scores do not depend on the weights.
BLIND = {"random", "ntk-sap", "snip:mil-ad"}


@pytest.fixture
def small() -> nn.Sequential:
    """A convolution with BatchNorm and two linear maps: 2x5 -> 3 classes, 144 prunable weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
        )


source = torch.Generator().manual_seed(2)
SMALL_BATCHES = [(torch.randn(6, 2, 5, generator=source), torch.arange(6) % 3) for _ in range(2)]


def random_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002


@names
@pytest.mark.parametrize("quotas", [None, "uniform", "erk"])
@pytest.mark.parametrize("rounds", [1, 10])
def test_exact_counts_certificates_and_an_untouched_caller(small, method, quotas, rounds):
    state, before = copy.deepcopy(small.state_dict()), random_states()
    cases = [(0.9, False)]
    if rounds == 1:
        cases += [(0.9, True), (0.0, False), (0.0, True), (0.99, False), (0.997, True)]
    elif quotas is None:
        cases += [(0.9, True)]
    for sparsity, invert in cases:
        masks = pm.prune(
            small, method, sparsity=sparsity, data=SMALL_BATCHES, rounds=rounds, quotas=quotas, invert=invert, seed=3
        )
        assert masks.kept == round((1 - sparsity) * 144)
        assert {name: mask.shape for name, mask in masks.items()} == {n: w.shape for n, w in prunable(small).items()}
        if quotas is not None:
            shapes = {name: mask.shape for name, mask in masks.items()}
            assert {c.name: c.kept for c in masks.layers()} == layer_quotas(quotas, shapes, masks.kept)
        assert (masks.provenance.get("certificate") or {}).get("ablation") == ("invert" if invert else None)
        if sparsity == 0.9 and not invert:
            shuffled = pm.shuffle(masks, seed=1)
            assert shuffled.provenance["certificate"]["ablation"] == "shuffle"
            assert [c.kept for c in shuffled.layers()] == [c.kept for c in masks.layers()]
    assert random_states() == before
    assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())


@names
def test_same_seed_same_scores_and_nothing_of_the_caller_is_touched(convnet, batches, method):
    convnet.eval()
    convnet.norm.train()
    convnet.head.weight.requires_grad_(False)
    convnet.stem.weight.grad = torch.ones_like(convnet.stem.weight)
    state, before = copy.deepcopy(convnet.state_dict()), random_states()
    modes = [module.training for module in convnet.modules()]
    first = pm.score(convnet, method, data=batches, seed=5)
    assert random_states() == before
    torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002  # whatever happens in between
    second = pm.score(convnet, method, data=batches, seed=5)
    assert list(first) == list(prunable(convnet))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(value, state[name]) for name, value in convnet.state_dict().items())
    assert [module.training for module in convnet.modules()] == modes
    assert not convnet.head.weight.requires_grad
    assert (convnet.stem.weight.grad == 1).all()
    assert convnet.down.weight.grad is None


class Shifted(nn.Module):
    """Works on its inputs before its layers see them, in place or not."""

    def __init__(self, layers, *, in_place):
        super().__init__()
        self.layers, self.in_place = layers, in_place

    def forward(self, inputs):
        return self.layers(inputs.mul_(0.5).sub_(0.2) if self.in_place else inputs * 0.5 - 0.2)


@names
def test_a_model_that_writes_into_its_inputs_is_scored_as_one_that_does_not(small, method):
    batches = [(inputs.clone(), targets) for inputs, targets in SMALL_BATCHES]
    found = [pm.score(Shifted(small, in_place=way), method, data=batches, seed=3) for way in (False, True)]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert all(torch.equal(one[0], other[0]) for one, other in zip(batches, SMALL_BATCHES, strict=True))


@names
def test_the_same_masks_twice_in_rounds_and_in_float64(small, method):
    small.double()
    double = [(inputs.double(), targets) for inputs, targets in SMALL_BATCHES]
    first, second = (pm.prune(small, method, sparsity=0.9, data=double, rounds=3, seed=1) for _ in range(2))
    assert first == second
    assert first.kept == round((1 - 0.9) * 144)
    assert first.provenance == second.provenance


@names
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused_by_the_name_of_the_layer(small, method, bad):
    with torch.no_grad():
        small[4].weight[2, 3] = bad
    if method in BLIND:
        pm.score(small, method, data=SMALL_BATCHES)
        return
    with pytest.raises(ValueError, match=r"\b[046]\.weight .*not finite|weights? of [046]\.weight"):
        pm.score(small, method, data=SMALL_BATCHES)


def test_rounds_rescore_the_surviving_network(convnet, batches):
    seen: list[int] = []

    def spy(problem) -> dict[str, Tensor]:
        seen.append(problem.masks.kept)
        assert all((w[~problem.masks[n]] == 0).all() for n, w in problem.weights.items())
        return pm.methods.Snip()(problem)

    total = sum(w.numel() for w in prunable(convnet).values())
    masks = pm.prune(convnet, spy, sparsity=0.9, data=batches, rounds=4)
    assert seen == [total, *(round((1 - 0.9) ** (n / 4) * total) for n in (1, 2, 3))]
    assert masks.kept == round((1 - 0.9) * total)


def test_iterative_differs_from_one_shot(convnet, batches):
    once = pm.prune(convnet, "grasp", sparsity=0.9, data=batches)
    often = pm.prune(convnet, "grasp", sparsity=0.9, data=batches, rounds=10)
    assert once != often


def test_scoring_a_subnetwork_scores_pruned_weights_zero(convnet, batches):
    masks = pm.prune(convnet, "random", sparsity=0.5)
    scores = pm.score(convnet, "snip", data=batches, within=masks)
    assert all((scores[name][~masks[name]] == 0).all() for name in masks)


def test_a_plain_function_is_a_method(convnet):
    def largest_rows(problem) -> dict[str, Tensor]:
        return {n: w.detach().abs().flatten(1).sum(1).view(-1, *[1] * (w.ndim - 1)).expand_as(w)
                for n, w in problem.weights.items()}  # fmt: skip

    masks = pm.prune(convnet, largest_rows, sparsity=0.5)
    assert masks.kept == round(0.5 * masks.total)
    assert masks.provenance["method"] == "largest_rows"


def test_dropout_is_drawn_from_the_seed(batches):
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 20), nn.Dropout(0.5), nn.Linear(20, 3))
    first, again, other = (pm.score(net, "snip", data=batches, seed=s)["1.weight"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_models_with_several_or_named_inputs():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.a(left) + self.b(right)

    net, targets = Two(), torch.tensor([0, 1, 1])
    left, right = torch.randn(3, 3), torch.randn(3, 4)
    by_position = pm.score(net, "snip", data=[((left, right), targets)])
    by_name = pm.score(net, "snip", data=[({"left": left, "right": right}, targets)])
    assert all(torch.equal(by_position[n], by_name[n]) for n in by_position)


def test_flags_among_named_inputs_and_inputs_that_are_no_tensors():
    class Flagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, twice: bool, x: Tensor) -> Tensor:
            return self.layer(x) * (1 + twice)

    net, x, targets = Flagged(), torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 1])
    whole = [({"twice": False, "x": x}, targets)]
    pieces = [({"twice": False, "x": x[a:b]}, targets[a:b]) for a, b in [(0, 2), (2, 5)]]
    expected = pm.score(nn.Sequential(net.layer), "grasp", data=[(x[:2], targets[:2]), (x[2:], targets[2:])])
    torch.testing.assert_close(pm.score(net, "grasp", data=pieces)["layer.weight"], expected["0.weight"])

    def of_text(model: nn.Module, text: list[str]) -> Tensor:
        return model.layer(torch.tensor([[float(len(word)), 1.0, 0.0] for word in text]))

    pm.score(net, "snip", data=whole)
    words = (["a", "bcd", "ef"], torch.tensor([0, 1, 1]))
    assert pm.score(net, "snip", data=[words], forward=of_text)["layer.weight"].max() > 0
    with pytest.raises(ValueError, match="as many examples as its first tensor, but there is none in this tuple"):
        pm.score(net, "snip", data=[words, words], forward=of_text)


def test_provenance_says_how_masks_were_made(convnet, batches):
    masks = pm.prune(convnet, "snip", sparsity=0.9, data=batches, seed=4, rounds=3, bn="eval")
    assert masks.provenance["method"] == "snip"
    assert masks.provenance["options"] == {"examples_per_class": 10, "bn": "eval"}
    assert (masks.provenance["sparsity"], masks.provenance["rounds"], masks.provenance["seed"]) == (0.9, 3, 4)
    assert masks.provenance["versions"]["torch"] == torch.__version__


def test_provenance_tells_the_examples_apart(small):
    def data(batches):
        return pm.prune(small, "snip", sparsity=0.5, data=batches).provenance["data"]

    inputs, targets = SMALL_BATCHES[0]
    changed = inputs.clone()
    changed[0, 0, 0] += 1
    assert data(SMALL_BATCHES) == data([(x.clone(), y.clone()) for x, y in SMALL_BATCHES])
    others = [SMALL_BATCHES[::-1], SMALL_BATCHES[:1], [(changed, targets)], [(inputs, targets.flip(0))]]
    assert len({data(batches) for batches in (SMALL_BATCHES, *others)}) == 5
    assert pm.prune(small, "magnitude", sparsity=0.5).provenance["data"] is None


def test_numbers_of_numpy_are_numbers(small):
    masks = pm.prune(small, "magnitude", sparsity=np.float64(0.5), rounds=np.int64(2))
    assert (masks.provenance["sparsity"], masks.provenance["rounds"]) == (0.5, 2)
    assert type(masks.provenance["rounds"]) is int


def test_a_generator_is_read_once_and_a_loader_shuffles_by_the_seed(small):
    masks = pm.prune(small, "grasp", sparsity=0.9, data=(batch for batch in SMALL_BATCHES), rounds=3)
    assert masks == pm.prune(small, "grasp", sparsity=0.9, data=SMALL_BATCHES, rounds=3)
    inputs, targets = (torch.cat(parts) for parts in zip(*SMALL_BATCHES, strict=True))
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=5, shuffle=True)
    before = random_states()
    first, again, other = (pm.score(small, "snip", data=loader, seed=seed)["0.weight"] for seed in (0, 0, 1))
    assert random_states() == before
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_models_own_draws_come_from_the_seed(small):
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x * (random.random() + np.random.rand())) + torch.rand(3)  # noqa: NPY002

    before = random_states()
    first, again, other = (pm.score(Noisy(), "snip", data=SMALL_BATCHES, seed=s)["inner.0.weight"] for s in (0, 0, 1))
    assert random_states() == before
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_masks_as_quotas(small):
    like = pm.prune(small, "magnitude", sparsity=0.8)
    masks = pm.prune(small, "snip", sparsity=0.8, data=SMALL_BATCHES, quotas=like, rounds=10)
    assert [c.kept for c in masks.layers()] == [c.kept for c in like.layers()]
    assert masks.provenance["quotas"] == "as in masks"


def test_quotas_that_cannot_be_met_are_refused_before_anything_is_scored(small):
    def never(problem):
        raise AssertionError("scored")

    with pytest.raises(ValueError, match=r"uniform-plus keeps .* weights, but only 1 are to be kept"):
        pm.prune(small, never, sparsity=0.99, rounds=10, quotas="uniform-plus")


X, Y = SMALL_BATCHES[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "snipp"}, 'unknown method "snipp"; known: .*; did you mean "snip"'),
        ({"method": "snip"}, "this method scores with examples: pass data="),
        ({"method": "synflow"}, "pass input_shape="),
        ({"method": "snip", "data": []}, "data holds no batches"),
        ({"method": "snip", "data": iter(())}, "data holds no batches"),
        ({"method": "snip", "data": [(X, Y), (X[:0], Y[:0])]}, "batch 1 of data has no examples"),
        ({"method": "snip", "data": (X, Y)}, r"batches such as \[\(inputs, targets\)\], not one tuple"),
        ({"method": "snip", "data": X}, r"batches such as \[\(inputs, targets\)\], not one Tensor"),
        ({"method": "snip", "data": [X, Y]}, r"\(inputs, targets\) batches; batch 0 is a Tensor"),
        ({"method": "snip", "data": [(X, Y, Y)]}, r"\(inputs, targets\) batches; batch 0 is a tuple of 3"),
        (
            {"method": "snip", "data": [{"x": X, "y": Y, "z": Y}]},
            "targets as one of labels, label, targets; batch 0 has x, y, z",
        ),
        ({"method": "snip", "data": 7}, "an iterable of .* batches, not a int"),
        ({"method": "snip", "data": [(X.numpy(), Y.numpy())]}, "batches of tensors; batch 0 holds NumPy arrays"),
        ({"method": "snip", "data": [((X * 9).byte(), Y)]}, "computes in float32, but its inputs are uint8: convert"),
        ({"method": "snip", "data": TensorDataset(X, Y)}, "such as a DataLoader of this TensorDataset"),
        ({"method": "snip", "data": pm.dataset("digits").train}, "batches, not a Split"),
        (
            {"method": "snip", "data": pm.dataset("digits"), "examples_per_class": 1000},
            r'class 0 \("0"\) of "digits" has 128 training examples; 1000 per class were asked for',
        ),
        (
            {"method": "snip:official", "data": pm.dataset("digits"), "ordinary_batch": 10_000},
            '"digits" has 1297 training examples; 10000 were asked for',
        ),
        ({"method": None}, r"a name, a function \(problem\) -> scores or an object of .*; got None"),
        ({"method": 3}, r"a name, a function \(problem\) -> scores or an object of .*; got 3"),
        ({"method": "snip", "bn": "trian"}, r'snip: bn is "train" or "eval"; got \'trian\''),
        ({"method": pm.methods.Snip(bn="trian")}, r'Snip: bn is "train" or "eval"; got \'trian\''),
        ({"method": "grasp", "keep": "most"}, 'grasp: keep is "largest" or "smallest" or "magnitude"; got'),
        ({"method": "grasp", "temperature": 0}, "GraSP divides logits by a temperature > 0; got 0"),
        ({"method": "grasp", "halves": 2}, "grasp: halves is True or False; got 2"),
        ({"method": "synflow", "dtype": "float16"}, 'synflow: dtype is "float64" or "float32"; got'),
        ({"method": "snip", "examples_per_class": 2.5}, "snip: examples_per_class is a whole number; got 2.5"),
        ({"method": "snip:official", "ordinary_batch": 0}, "ordinary_batch must be at least 1, not 0"),
        ({"method": "prospr", "lr": "fast"}, "prospr: lr is a number; got 'fast'"),
        (
            {"method": "snip", "data": SMALL_BATCHES, "loss": "ce"},
            r"loss= is a function \(outputs, targets\) -> .*'ce'",
        ),
        ({"method": "snip", "data": SMALL_BATCHES, "loss": nn.CrossEntropyLoss}, r"loss= is a function .*got <class"),
        (
            {"method": "snip", "data": SMALL_BATCHES, "forward": 1},
            r"forward= is a function \(model, inputs\) -> .*got 1",
        ),
        ({"method": "synflow", "input_shape": 10}, r"shape of one example .* such as \(3, 32, 32\); got 10"),
        ({"method": "synflow", "input_shape": (2, 0)}, r"shape of one example .*; got \(2, 0\)"),
        ({"method": "random", "quotas": {"0.weight": 3}}, r'"0.weight": sparsity is .* in \[0, 1\); got 3'),
        ({"method": "random", "quotas": {"no.*": 0.5}}, r'"no\.\*"'),
        ({"method": "random", "quotas": 0.5}, 'unknown quota rule "0.5".*; or give Masks'),
        ({"method": "snip", "examples": 3}, 'snip: unknown option "examples"; known: .*examples_per_class'),
        ({"method": "random", "sparsity": 1.0}, r"in \[0, 1\); got 1.0"),
        ({"method": "random", "sparsity": -0.1}, r"in \[0, 1\); got -0.1"),
        ({"method": "random", "sparsity": 90}, r"in \[0, 1\); got 90"),
        ({"method": "random", "sparsity": float("nan")}, r"in \[0, 1\); got nan"),
        ({"method": "random", "sparsity": "0.9"}, r"in \[0, 1\); got '0.9'"),
        ({"method": "random", "rounds": True}, "rounds is a whole number from 1; got True"),
        ({"method": "random", "rounds": 0}, "rounds is a whole number from 1; got 0"),
        ({"method": "random", "rounds": 2.5}, "rounds is a whole number from 1; got 2.5"),
        ({"method": "random", "quotas": "erkk"}, 'unknown quota rule "erkk"; known: erk, .*; did you mean "erk"'),
        (
            {"method": "random", "quotas": pm.Masks({"x": torch.ones(1, dtype=torch.bool)})},
            "quotas must be masks of the same layers",
        ),
        ({"method": "random", "include": nn.Conv3d}, "Conv3d'> selects no prunable weight of this Sequential"),
        ({"method": lambda problem: {}}, "must name each prunable weight: missing"),
        ({"method": lambda problem: [1.0]}, "a mapping from names to scores, not a list"),
        ({"method": lambda p: dict.fromkeys(p.weights, 1.0)}, r"0\.weight must be a tensor of real numbers, not float"),
        (
            {"method": lambda p: {n: w * 1j for n, w in p.weights.items()}},
            r"0\.weight must be a tensor of real numbers, not torch.complex64",
        ),
        ({"method": lambda p: {n: w[:1] for n, w in p.weights.items()}}, r"scores of 0\.weight have shape \(1, 2, 3\)"),
        (
            {"method": lambda p: {n: w.detach() / 0 for n, w in p.weights.items()}},
            r"scores of 0\.weight are not finite",
        ),
    ],
)
def test_bad_input_gets_one_sentence(small, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        pm.prune(small, **{"sparsity": 0.5, **arguments})
    assert "\n" not in str(caught.value)


@names
def test_methods_that_need_data_say_so(small, method):
    if METHODS[method].needs_data:
        with pytest.raises(ValueError, match="this method scores with examples: pass data="):
            pm.score(small, method)
    else:
        pm.score(small, method, input_shape=(2, 5))


@pytest.mark.parametrize("model", [None, 3, {"weight": torch.ones(2, 2)}, nn.Linear])
def test_what_is_no_model(model):
    with pytest.raises(ValueError, match=r"the model must be a torch.nn.Module; got a (NoneType|int|dict|type)$"):
        pm.prune(model, "random", sparsity=0.5)


def test_nothing_to_prune():
    with pytest.raises(ValueError, match="Sequential has nothing to prune: no convolution, linear, recurrent or"):
        pm.prune(nn.Sequential(nn.BatchNorm1d(3)), "random", sparsity=0.5)


def test_masks_of_another_model(small, convnet):
    with pytest.raises(ValueError, match="within= must be masks of exactly the prunable weights of this model"):
        pm.score(small, "random", within=pm.Masks.ones(prunable(convnet)))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda outputs, targets: outputs, r"must be one real number; got a tensor of float32 of shape \(6, 3\)"),
        (
            lambda outputs, targets: outputs.sum() * 1j,
            r"must be one real number; got a tensor of complex64 of shape \(\)",
        ),
        (lambda outputs, targets: outputs.sum().item(), "the loss must be one number as a tensor, .*; got "),
        (lambda outputs, targets: torch.tensor(1.0), "does not depend on any prunable weight"),
    ],
)
@pytest.mark.parametrize("method", ["snip", "grasp", "prospr"])
def test_a_loss_that_is_not_a_scalar_of_the_weights(small, loss, message, method):
    with pytest.raises(ValueError, match=message):
        pm.score(small, method, data=SMALL_BATCHES, loss=loss)


def test_scores_of_integers_or_truth_values_are_ranked(small):
    for scores in (lambda w: w > 0, lambda w: (w * 100).int(), lambda w: w.bfloat16()):
        masks = pm.prune(small, lambda p, f=scores: {n: f(w) for n, w in p.weights.items()}, sparsity=0.7)
        assert masks.kept == round(0.3 * 144)


def sizes_of_scoring_batches(**arguments: Any) -> list[int]:
    sizes: list[int] = []

    def record(problem: Problem) -> dict[str, Tensor]:
        sizes.extend(len(inputs) for inputs, _ in problem.batches)
        return {name: weight.abs() for name, weight in problem.weights.items()}

    model = pm.network("lenet-300-100", input_shape=(1, 8, 8), classes=10)
    masks = pm.prune(model, record, sparsity=0.5, data=pm.dataset("digits"), **arguments)
    assert masks.provenance.get("scoring_batch") == arguments.get("scoring_batch")
    return sizes


def test_a_sample_is_scored_in_batches_of_the_size_that_was_asked_for():
    assert sizes_of_scoring_batches() == [100]
    assert sizes_of_scoring_batches(scoring_batch=48) == [48, 48, 4]
    with pytest.raises(ValueError, match=r"scoring_batch is a whole number from 1; got 0"):
        sizes_of_scoring_batches(scoring_batch=0)

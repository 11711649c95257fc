"""Data as users have them: used right, or refused in one sentence with the way out."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

import prunemark as pm

pytestmark = pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")
source = torch.Generator().manual_seed(0)
X, Y = torch.randn(64, 6, generator=source), torch.arange(64) % 4


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 4))


@pytest.mark.parametrize("owner", ["loader", "sampler"])
def test_the_seed_names_the_order_of_a_loader_with_its_own_generator_which_is_left_alone(net, owner):
    own = torch.Generator().manual_seed(1)
    data = TensorDataset(X, Y)
    if owner == "loader":
        loader = DataLoader(data, 16, shuffle=True, generator=own)
    else:
        loader = DataLoader(data, 16, sampler=RandomSampler(data, generator=own))
    before = own.get_state()
    first, second, other = (pm.prune(net, "snip", sparsity=0.8, data=loader, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(own.get_state(), before)
    assert first.provenance == second.provenance
    assert first == second
    assert first.provenance["data"] != other.provenance["data"]


class Stream(IterableDataset):
    def __iter__(self):
        return zip(X, Y, strict=True)


@pytest.mark.parametrize("data", [Stream(), list(Stream()), [(X[0], 1)]], ids=["stream", "list", "number"])
def test_single_examples_are_no_batches(net, data):
    with pytest.raises(ValueError, match=r"item 0 is a single example, .*DataLoader makes"):
        pm.prune(net, "snip", sparsity=0.8, data=data)
    if isinstance(data, Stream):
        batched = pm.prune(net, "snip", sparsity=0.8, data=DataLoader(data, batch_size=64))
        assert batched == pm.prune(net, "snip", sparsity=0.8, data=[(X, Y)])


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 4)

    def forward(self, input_ids, attention_mask):
        return self.head((self.embedding(input_ids) * attention_mask[..., None]).mean(1))


@pytest.mark.parametrize("name", ["labels", "label", "targets"])
def test_a_batch_by_names_has_its_targets_among_them(name):
    model = Tokens()
    inputs = {"input_ids": torch.randint(0, 20, (64, 5)), "attention_mask": torch.ones(64, 5)}
    found = pm.score(model, "snip", data=[{**inputs, name: Y}])
    expected = pm.score(model, "snip", data=[(inputs, Y)])
    assert all(torch.equal(found[layer], expected[layer]) for layer in expected)
    with pytest.raises(ValueError, match=r"one of labels, label, targets; batch 0 has input_ids, attention_mask$"):
        pm.score(model, "snip", data=[inputs])
    with pytest.raises(ValueError, match="batch 0 has labels, label"):
        pm.score(model, "snip", data=[{"labels": Y, "label": Y}])


@pytest.mark.parametrize(
    "targets",
    [Y.float(), Y[:, None], Y[:, None].float(), Y.int(), Y.tolist(), torch.rand(64, 3)],
    ids=["float", "column", "float column", "int32", "list", "three of four"],
)
def test_targets_that_cross_entropy_does_not_take_are_refused_with_what_it_takes(net, targets):
    with pytest.raises(
        ValueError, match=r"targets are .*takes class indices, int64, of shape \(64,\), or .* pass loss="
    ):
        pm.score(net, "snip", data=[(X, targets)])


def test_probabilities_and_labels_of_pixels_are_targets(net):
    pm.score(net, "snip", data=[(X, torch.rand(64, 4).softmax(1))])
    pixels = nn.Conv2d(3, 5, 1)
    pm.score(pixels, "snip", data=[(torch.randn(2, 3, 4, 4), torch.randint(0, 5, (2, 4, 4)))])


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.waves, self.head = nn.Linear(6, 8, dtype=torch.complex64), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.waves(x.to(self.waves.weight.dtype)).abs())


def test_complex_weights_have_a_magnitude_but_no_product_with_a_gradient():
    model = Complex()
    assert pm.prune(model, "magnitude", sparsity=0.5, rounds=2, data=[(X, Y)]).kept == 40
    with pytest.raises(ValueError, match=r"waves\.weight holds complex numbers, .*exclude='waves\.weight'"):
        pm.score(model, "snip", data=[(X, Y)])
    for dtype in ("float32", "float64"):
        scores = pm.score(model, "snip", data=[(X, Y)], exclude="waves.weight", score_dtype=dtype)
        assert scores["head.weight"].any()


@pytest.mark.parametrize("method", ["grasp", "prospr"])
def test_an_operation_without_a_second_derivative_is_named(method):
    model = nn.Sequential(nn.Linear(6, 16), nn.Hardsigmoid(), nn.Linear(16, 4))
    with pytest.raises(ValueError, match=r"takes a second derivative, .*hardsigmoid.* such as snip"):
        pm.score(model, method, data=[(X, Y)])
    assert pm.prune(model, "snip", sparsity=0.5, data=[(X, Y)]).kept == 80
    hardswish = nn.Sequential(nn.Linear(6, 16), nn.Hardswish(), nn.Linear(16, 4))
    assert pm.prune(hardswish, method, sparsity=0.5, data=[(X, Y)]).kept == 80

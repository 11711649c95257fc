"""`prunemark.train`: a recipe's whole training on a data set."""

import math

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.datasets import Dataset, Split
from prunemark.randomness import generator
from prunemark.recipes import DEFAULT, RECIPES
from prunemark.training import evaluate, loop

SHORT = pm.Recipe(epochs=2, batch_size=16, lr=0.05)


def split(examples, seed):
    source = generator(seed, "test examples")
    targets = torch.arange(examples) % 3
    return Split(
        inputs=torch.randn(examples, 1, 5, 5, generator=source) + targets[:, None, None, None], targets=targets
    )


@pytest.fixture
def data():
    return Dataset(
        name="digits", train=split(60, 0), test=split(30, 1), class_names=("0", "1", "2"), fingerprint=""
    )  # fmt: skip


def perceptron():
    return pm.network("lenet-300-100", input_shape=(1, 5, 5), classes=3, seed=0)


def test_training_is_that_of_the_loop_and_of_the_masks(data):
    model, same = perceptron(), perceptron()
    masks = pm.prune(model, "magnitude", sparsity=0.9, input_shape=(1, 5, 5))
    trained = pm.train(model, data, SHORT, masks=masks, seed=4)
    plain = loop.train(same, data.train, SHORT, seed=4, masks=masks, test=data.test)
    assert trained.checkpoint.model.keys() == plain.checkpoint.model.keys()
    assert all(torch.equal(trained.checkpoint.model[name], plain.checkpoint.model[name]) for name in masks)
    assert (trained.test_accuracy, trained.test_loss) == (plain.test_accuracy, plain.test_loss)
    masks.verify(model)
    found = evaluate(model, data.test.inputs, data.test.targets)
    assert (found.accuracy, found.loss) == (trained.test_accuracy, pytest.approx(trained.test_loss, rel=1e-5))
    assert trained.engine == plain.engine


def test_the_curve_is_a_table_of_the_history(data):
    seen = []
    trained = pm.train(perceptron(), data, SHORT, on_epoch=lambda record, _: seen.append(record))
    assert list(trained.curve.columns) == ["epoch", "step", "train_loss", "test_loss", "test_accuracy"]
    assert trained.curve.to_dict("records") == seen == trained.history
    assert list(trained.curve["step"]) == [4, 8]
    assert trained.curve["test_accuracy"].iloc[-1] == trained.test_accuracy
    without = pm.train(perceptron(), data, SHORT, curve=False)
    assert len(without.curve) == 0
    assert without.test_loss == trained.test_loss


def test_a_recipe_is_found_by_the_networks_name_and_the_data_sets(data, monkeypatch):
    used = []

    def stop(model, train, recipe, **_):
        used.append(recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stop)
    for given, expected in (("resnet-20", RECIPES["resnet-20", "digits"]), (None, DEFAULT), (SHORT, SHORT)):
        with pytest.raises(KeyboardInterrupt):
            pm.train(perceptron(), data, given)
        assert used.pop() == expected


def test_masks_fit_a_compiled_model_by_their_plain_names(data):
    masks = pm.prune(perceptron(), "random", sparsity=0.5, input_shape=(1, 5, 5))
    compiled = torch.compile(perceptron(), backend="eager")
    trained = pm.train(compiled, data, SHORT, masks=masks)
    masks.verify(compiled)
    plain = pm.train(perceptron(), data, SHORT, masks=masks)
    assert trained.test_loss == pytest.approx(plain.test_loss, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "resnet-50"}, "resnet-50 has no recipe for digits, only for imagenet; give a Recipe"),
        ({"recipe": "resnet-200"}, 'unknown recipe "resnet-200".*did you mean "resnet-20"'),
        ({"data": [(torch.ones(1), torch.ones(1))]}, r"such as prunemark\.dataset.* returns, not list"),
        ({"masks": {"fc9.weight": torch.ones(1, dtype=torch.bool)}}, r"another model.*fc9\.weight"),
        ({"engine": "sparce"}, 'unknown engine "sparce"'),
    ],
)
def test_what_does_not_fit_is_named(data, change, message):
    with pytest.raises(ValueError, match=message):
        pm.train(**({"model": perceptron(), "data": data, "recipe": SHORT} | change))


def test_divergence_is_told(data):
    trained = pm.train(nn.Sequential(nn.Flatten(), nn.Linear(25, 3)), data, SHORT.override({"lr": 1e30}))
    assert trained.diverged
    assert not math.isnan(trained.test_accuracy)

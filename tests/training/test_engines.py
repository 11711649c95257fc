"""Promises of every engine, and their use by the loop."""

import contextlib
import math

import pytest
import torch
from torch import nn

from prunemark.datasets import Split
from prunemark.models.prunable import prunable
from prunemark.networks import network
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.registry import Entry
from prunemark.training import Checkpoint, evaluate, train
from prunemark.training.divergence import LossWatch
from prunemark.training.engines import ENGINES
from prunemark.training.engines.sparse import available_kernels

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, drops=(2,), warmup_epochs=0.5)


def split(examples=70, seed=0):
    source = generator(seed, "test examples")
    inputs = torch.randn(examples, 1, 5, 5, generator=source)
    return Split(inputs=inputs, targets=torch.randint(0, 3, (examples,), generator=source))


def perceptron(seed=0):
    return network("lenet-300-100", input_shape=(1, 5, 5), classes=3, seed=seed)


def random_masks(model, density=0.1):
    source = generator(0, "test masks")
    return {name: torch.rand(w.shape, generator=source) < density for name, w in prunable(model).items()}


# The kernels are optional: `make` installs them where there is a C++ compiler.
@pytest.fixture(params=[name for name in ENGINES if name != "sparse" or available_kernels()])
def name(request):
    return request.param


def test_an_engine_takes_the_steps_that_the_formula_says(name):
    model, reference = perceptron(), perceptron()
    masks, data = random_masks(model), split()
    with torch.no_grad():
        for key, mask in masks.items():
            reference.get_parameter(key).mul_(mask)
    velocity = {key: torch.zeros_like(value) for key, value in reference.named_parameters()}
    make = ENGINES[name].load()
    with contextlib.closing(make(model, RECIPE, masks, None, CPU)) as engine:
        for lr in (0.1, 0.1, 0.01):
            loss = nn.functional.cross_entropy(reference(data.inputs), data.targets)
            reference.zero_grad()
            loss.backward()
            with torch.no_grad():
                for key, value in reference.named_parameters():
                    slope = value.grad + RECIPE.weight_decay * value
                    velocity[key] = (RECIPE.momentum * velocity[key] + slope) * masks.get(key, 1)
                    value -= lr * velocity[key]
            assert float(engine.step(data.inputs, data.targets, lr)) == pytest.approx(loss.item(), rel=1e-5)
        state = engine.checkpoint(3)
        held_out = split(seed=1)
        found = engine.evaluate(held_out)
    assert state.step == 3
    for key, value in reference.named_parameters():
        torch.testing.assert_close(state.model[key], value.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(state.momentum[key], velocity[key], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(model.get_parameter(key), state.model[key], rtol=0, atol=0)
        assert not state.model[key][~masks.get(key, torch.tensor(True))].any()
        assert not state.momentum[key][~masks.get(key, torch.tensor(True))].any()
    expected = evaluate(model, held_out.inputs, held_out.targets)
    assert (found.accuracy, found.loss) == (expected.accuracy, pytest.approx(expected.loss, rel=1e-5))


def test_an_engine_goes_on_from_a_checkpoint_bit_for_bit(name):
    masks, data = random_masks(perceptron()), split()
    whole = train(perceptron(), data, RECIPE, seed=3, masks=masks, engine=name)
    start = train(perceptron(), data, RECIPE, seed=3, masks=masks, engine=name, until=7).checkpoint
    rest = train(perceptron(9), data, RECIPE, seed=3, masks=masks, engine=name, start=start)
    assert whole.engine == rest.engine == name
    for part in ("model", "momentum"):
        one, other = getattr(whole.checkpoint, part), getattr(rest.checkpoint, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_an_engine_gives_the_model_back_as_it_came(name):
    model = perceptron().eval()
    train(model, split(), RECIPE, seed=0, until=2, engine=name, masks=random_masks(model))
    assert not model.training
    assert all(p.is_contiguous() and p.grad is None and p.requires_grad for p in model.parameters())


def test_an_engine_refuses_what_is_of_another_model(name):
    make = ENGINES[name].load()
    with pytest.raises(ValueError, match=r'unknown parameter "fc\.wieght"'):
        make(perceptron(), RECIPE, {"fc.wieght": torch.ones(3, dtype=torch.bool)}, None, CPU)
    with pytest.raises(ValueError, match="another model"):
        make(perceptron(), RECIPE, {}, Checkpoint(step=1, model={}), CPU)


def test_auto_says_why_and_another_name_is_refused():
    unmasked = train(perceptron(), split(), RECIPE, seed=0, until=1, engine="auto")
    assert (unmasked.engine, unmasked.engine_reason) == ("dense", "there are no masks")
    with pytest.raises(ValueError, match=r'unknown parameter "fc\.wieght"'):
        train(
            perceptron(), split(), RECIPE, seed=0, masks={"fc.wieght": torch.ones(3, dtype=torch.bool)}, engine="auto"
        )
    with pytest.raises(ValueError, match=r'unknown engine "dens".*did you mean "dense"'):
        train(perceptron(), split(), RECIPE, seed=0, engine="dens")


class Scripted:
    """An engine whose losses are given, and that takes every step."""

    memory_format = torch.contiguous_format
    draws = True

    def __init__(self, losses):
        self.losses, self.taken, self.closed = losses, 0, False

    def __call__(self, model, recipe, masks, start, device):
        self.model = model
        return self

    def step(self, images, targets, lr):
        self.taken += 1
        return torch.tensor(self.losses[self.taken - 1])

    def step_on(self, inputs, targets, places, lr):
        return self.step(inputs[places], targets[places], lr)

    def evaluate(self, split):
        raise AssertionError("there is no test set")

    def checkpoint(self, step):
        return Checkpoint.capture(self.model, step=step)

    def close(self):
        self.closed = True


@pytest.fixture
def scripted(monkeypatch):
    def add(losses):
        engine = Scripted(losses)
        entry = Entry(target="", summary="")
        object.__setattr__(entry, "load", lambda: engine)
        monkeypatch.setitem(ENGINES, "scripted", entry)
        return engine

    return add


@pytest.mark.parametrize("bad", [0, 1, 4, 14])
def test_a_loss_that_is_not_finite_ends_training_by_any_engine(scripted, bad):
    engine = scripted([1.0] * bad + [math.nan] + [1.0] * 14)
    result = train(perceptron(), split(), RECIPE, seed=0, engine="scripted")
    assert result.diverged
    assert (result.checkpoint.step, engine.taken) == (bad, bad + 1)
    assert engine.closed


class LateEvent:
    """Stands for a CUDA event: what was copied is there when it has been waited for."""

    def record(self):
        pass

    def synchronize(self):
        pass


def test_behind_an_accelerator_a_bad_loss_is_seen_one_step_later(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", LateEvent)
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **options: real(*size, **options))
    watch = LossWatch(torch.device("cuda"))
    good, bad = torch.tensor(1.0), torch.tensor(math.inf)
    assert watch.first_bad(0, good, wait=False) is None
    assert watch.first_bad(1, bad, wait=False) is None
    assert watch.first_bad(2, good, wait=False) == 1
    watch = LossWatch(torch.device("cuda"))
    assert watch.first_bad(0, bad, wait=True) == 0
    assert watch.first_bad(0, good, wait=False) is None
    assert watch.first_bad(1, bad, wait=True) == 1


def test_an_engine_is_closed_when_a_model_fails():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))
            self.calls = 0

        def forward(self, inputs):
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("no more")
            return self.weight.expand(len(inputs), 3)

    model = Failing().eval()
    with pytest.raises(RuntimeError, match="no more"):
        train(model, split(), RECIPE, seed=0)
    assert not model.training


def test_the_hook_sees_each_epoch_and_may_take_the_state():
    seen, states = [], []

    def look(record, checkpoint):
        seen.append(record)
        states.append(checkpoint())

    data, test = split(), split(seed=1)
    watched = train(perceptron(), data, RECIPE, seed=0, test=test, evaluate_every_epoch=True, on_epoch=look)
    assert seen == watched.history
    assert [record["epoch"] for record in seen] == [1, 2, 3]
    plain = train(perceptron(), data, RECIPE, seed=0, until=10).checkpoint
    assert states[1].step == 10
    assert all(torch.equal(states[1].model[key], plain.model[key]) for key in plain.model)
    assert all(torch.equal(states[1].momentum[key], plain.momentum[key]) for key in plain.momentum)
    seen.clear()
    alone = train(perceptron(), data, RECIPE, seed=0, on_epoch=look)
    assert [record["train_loss"] for record in seen] == [record["train_loss"] for record in watched.history]
    assert all(math.isnan(record["test_loss"]) for record in alone.history)


def test_a_model_may_keep_what_it_made_while_it_was_evaluated():
    class Caching(nn.Module):
        """Makes its scale in its first call of eval mode, and multiplies by it from then on."""

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(25, 3)
            self.scale = None

        def forward(self, inputs):
            if not self.training and self.scale is None:
                self.scale = torch.full((25,), 0.5)
            inputs = inputs.flatten(1)
            return self.linear(inputs if self.scale is None else self.linear.weight.sum() * self.scale * inputs)

    result = train(Caching(), split(), RECIPE, seed=0, test=split(seed=1), evaluate_every_epoch=True)
    assert len(result.history) == 3


def test_the_sparse_engine_refuses_steps_that_it_does_not_take():
    recipe = RECIPE.override({"optimizer": "adam", "label_smoothing": 0.1})
    with pytest.raises(
        ValueError, match=r"SGD and momentum on cross-entropy, not with optimizer = adam, label_smoothing"
    ):
        train(perceptron(), split(), recipe, seed=0, engine="sparse")

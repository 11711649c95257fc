"""Trainings by the sparse engine against the dense loop: weights, momentum, statistics, evaluation, resumption."""

import copy

import pytest
import torch
from torch import nn

from prunemark.datasets import Split
from prunemark.networks import network
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training import Checkpoint, evaluate, train
from prunemark.training.engines.sparse import UnsupportedError
from tests.training.engines.sparse.reference import apply_, batch, draw_, engine, random_masks

SHAPE = (3, 8, 8)


def trained_by_both(name, *, steps, momentum=0.9, shape=SHAPE, density=0.6, width=None, batch_size=20):
    """Checkpoints of the dense loop and of the sparse engine after the same batches."""
    options = {} if width is None else {"width": width}
    model = network(name, input_shape=shape, classes=10, seed=0, **options)
    masks = random_masks(model, density=density)
    apply_(model, masks)
    inputs, targets = batch(steps * batch_size, shape)
    recipe = Recipe(epochs=1, batch_size=batch_size, lr=0.02, momentum=momentum, weight_decay=0.01)
    sparse_model = copy.deepcopy(model)
    dense = train(model, Split(inputs=inputs, targets=targets), recipe, seed=0, masks=masks, engine="dense")
    order = torch.randperm(len(inputs), generator=generator(0, "order", 0))
    sparse = engine(sparse_model, masks, batch_size=batch_size, momentum=momentum, weight_decay=0.01)
    for places in order.split(batch_size):
        sparse.step(inputs[places], targets[places], 0.02)
    return dense.checkpoint, sparse.checkpoint(steps), model, sparse


def assert_close(dense, sparse, *, tolerance=1e-4, without=()):
    assert sparse.step == dense.step
    for one, other in ((sparse.model, dense.model), (sparse.momentum, dense.momentum)):
        assert one.keys() == other.keys()
        for name, tensor in other.items():
            if name not in without:
                difference = (one[name] - tensor).double().norm()
                assert difference <= tolerance * tensor.double().norm() + 1e-6, name


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_three_steps_as_the_dense_loop(momentum):
    for name, shape, width in (("lenet-300-100", (1, 9, 9), None), ("resnet-8", SHAPE, 0.5)):
        dense, sparse, _, _ = trained_by_both(name, steps=3, momentum=momentum, shape=shape, width=width)
        assert_close(dense, sparse)


def test_everything_kept_is_dense_training():
    dense, sparse, _, _ = trained_by_both("resnet-8", steps=3, density=1.1, width=0.25)
    assert_close(dense, sparse)


def test_left_out_units_decay_but_keep_their_statistics():
    model = network("resnet-8", input_shape=SHAPE, classes=10, seed=0, width=0.5)
    masks = random_masks(model, density=0.5)
    masks["stages.1.0.conv2.weight"][:, 3] = False
    apply_(model, masks)
    inputs, targets = batch(40, SHAPE)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.1, weight_decay=0.1)
    other = copy.deepcopy(model)
    dense = train(model, Split(inputs=inputs, targets=targets), recipe, seed=0, masks=masks, engine="dense").checkpoint
    sparse = engine(other, masks, batch_size=20, weight_decay=0.1)
    for places in torch.randperm(40, generator=generator(0, "order", 0)).split(20):
        sparse.step_on(inputs, targets, places, 0.1)
    state = sparse.checkpoint(2)
    statistics = ("stages.1.0.bn1.running_mean", "stages.1.0.bn1.running_var")
    assert_close(dense, state, without=statistics)
    assert [state.model[name][3].item() for name in statistics] == [0, 1]
    assert dense.model[statistics[0]][3] != 0
    keep = torch.arange(len(state.model[statistics[0]])) != 3
    for name in statistics:
        torch.testing.assert_close(state.model[name][keep], dense.model[name][keep], rtol=1e-4, atol=1e-6)


def test_pruned_weights_and_their_momentum_are_zero():
    _, sparse, _, _ = trained_by_both("resnet-8", steps=2, width=0.5)
    model = network("resnet-8", input_shape=SHAPE, classes=10, seed=0, width=0.5)
    for name, mask in random_masks(model, density=0.6).items():
        assert not sparse.model[name][~mask].any()
        assert not sparse.momentum[name][~mask].any()
        assert sparse.model[name][mask].all()


def test_evaluation_as_torch_evaluates_the_checkpoint():
    _, checkpoint, model, sparse = trained_by_both("resnet-8", steps=3, width=0.5)
    model.load_state_dict(checkpoint.model)
    inputs, targets = batch(75, SHAPE, seed=1)
    expected = evaluate(model, inputs, targets)
    got = sparse.evaluate(Split(inputs=inputs, targets=targets))
    assert got.accuracy == expected.accuracy
    assert got.loss == pytest.approx(expected.loss, rel=1e-5)


def test_going_on_from_a_checkpoint_is_bit_for_bit_the_same():
    model = network("resnet-8", input_shape=SHAPE, classes=10, seed=0, width=0.5)
    masks = random_masks(model, density=0.3)
    apply_(model, masks)
    inputs, targets = batch(80, SHAPE)
    first = engine(copy.deepcopy(model), masks, batch_size=20)
    states: list[Checkpoint] = []
    for step, (images, classes) in enumerate(zip(inputs.split(20), targets.split(20), strict=True)):
        states.append(first.checkpoint(step))
        first.step(images, classes, 0.05)
    model.load_state_dict(states[2].model)
    second = engine(model, masks, batch_size=20, start=states[2])
    for step in (2, 3):
        second.step(inputs[20 * step : 20 * step + 20], targets[20 * step : 20 * step + 20], 0.05)
    one, other = first.checkpoint(4), second.checkpoint(4)
    for a, b in ((one.model, other.model), (one.momentum, other.momentum)):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_batches_are_gathered_from_any_memory_layout():
    model = network("resnet-8", input_shape=SHAPE, classes=10, seed=0, width=0.5)
    masks = random_masks(model, density=0.3)
    apply_(model, masks)
    inputs, targets = batch(50, SHAPE)
    places = torch.tensor([3, 49, 0, 7, 7])
    losses = []
    for layout in (torch.contiguous_format, torch.channels_last):
        one = engine(copy.deepcopy(model), masks)
        losses.append(float(one.step_on(inputs.to(memory_format=layout), targets, places, 0.1)))
        other = engine(copy.deepcopy(model), masks)
        losses.append(float(other.step(inputs[places].to(memory_format=layout), targets[places], 0.1)))
    assert len(set(losses)) == 1


def test_a_loss_that_is_not_finite_changes_no_weight():
    model = network("lenet-300-100", input_shape=(1, 4, 4), classes=10, seed=0)
    masks = random_masks(model, density=0.5)
    apply_(model, masks)
    before = copy.deepcopy(model.state_dict())
    sparse = engine(model, masks)
    for bad in (float("inf"), float("nan")):
        inputs, targets = batch(8, (1, 4, 4))
        inputs[3, 0, 2, 2] = bad
        loss = sparse.step(inputs, targets, 0.1)
        assert loss != loss or abs(loss) == float("inf")
    state = sparse.checkpoint(0)
    assert all(torch.equal(state.model[name], before[name]) for name in before)


def test_images_and_targets_must_match():
    model = network("lenet-300-100", input_shape=(1, 4, 4), classes=10, seed=0)
    sparse = engine(model, random_masks(model, density=0.5))
    inputs, targets = batch(8, (1, 4, 4))
    with pytest.raises(ValueError, match="each image of a batch has one target"):
        sparse.step(inputs, targets[:7], 0.1)
    with pytest.raises(ValueError, match="class 10"):
        sparse.step(inputs, targets.clone().fill_(10), 0.1)
    with pytest.raises(ValueError, match="image 8"):
        sparse.step_on(inputs, torch.zeros(9, dtype=torch.int64), torch.tensor([8]), 0.1)
    with pytest.raises(ValueError, match="shape"):
        sparse.step(*batch(8, (1, 4, 5)), 0.1)


def test_models_that_it_does_not_take():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    draw_(model)
    with pytest.raises(UnsupportedError, match=r"1\.bias is masked"):
        engine(model, {"1.bias": torch.zeros(10, dtype=torch.bool)}).step(*batch(4, (1, 4, 4)), 0.1)
    with pytest.raises(UnsupportedError, match="float32"):
        engine(copy.deepcopy(model).double(), {})
    with pytest.raises(ValueError, match="another model"):
        engine(model, {"2.weight": torch.zeros(10, dtype=torch.bool)})
    with pytest.raises(UnsupportedError, match="GELU"):
        engine(nn.Sequential(model, nn.GELU()), {}).step(*batch(4, (1, 4, 4)), 0.1)
    model[1].bias.requires_grad_(False)
    with pytest.raises(UnsupportedError, match=r"1\.bias"):
        engine(model, {})


def test_a_trace_that_misses_something_trains_no_other_network():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    model[1].forward = lambda x: nn.functional.linear(x, model[1].weight, model[1].bias) + 1
    with pytest.raises(UnsupportedError, match="logits are not those"):
        engine(model, {}).step(*batch(4, (1, 4, 4)), 0.1)


def trained(model, masks, *, shape=(1, 6, 6), engine="auto", **recipe):
    inputs, targets = batch(40, shape)
    recipe = Recipe(epochs=1, batch_size=20, **recipe)
    return train(model, Split(inputs=inputs, targets=targets), recipe, seed=0, masks=masks, engine=engine)


def test_auto_is_sparse_where_few_weights_are_kept():
    model = network("lenet-300-100", input_shape=(1, 6, 6), classes=10, seed=0)
    few, most = (random_masks(model, density=density) for density in (0.2, 0.8))
    found = trained(model, few)
    assert (found.engine, found.engine_reason[:15]) == ("sparse", "the masks leave")
    found = trained(model, most)
    assert found.engine == "dense"
    assert found.engine_reason.endswith("below 60% the sparse one is faster")
    assert trained(model, most, engine="sparse").engine == "sparse"
    assert trained(model, few, engine="dense").engine == "dense"


def test_auto_is_dense_where_the_kernels_lack_a_part():
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 10), nn.GELU())
    masks = random_masks(other, density=0.1)
    found = trained(other, masks)
    assert (found.engine, found.engine_reason) == ("dense", "2 is a GELU")
    with pytest.raises(UnsupportedError, match="2 is a GELU"):
        trained(other, masks, engine="sparse")


def test_auto_is_dense_where_a_trace_misses_something_and_trains_the_same_weights():
    models = [nn.Sequential(nn.Flatten(), nn.Linear(36, 10)) for _ in range(2)]
    for model in models:
        draw_(model)
        layer = model[1]
        layer.forward = lambda x, layer=layer: nn.functional.linear(x, layer.weight, layer.bias) + 1
    masks = random_masks(models[0], density=0.1)
    found = trained(models[0], masks)
    assert found.engine == "dense"
    assert "logits are not those" in found.engine_reason
    trained(models[1], masks, engine="dense")
    assert torch.equal(models[0][1].weight, models[1][1].weight)


def test_auto_is_dense_for_a_recipe_that_asks_for_more_than_sgd():
    model = network("lenet-300-100", input_shape=(1, 6, 6), classes=10, seed=0)
    found = trained(model, random_masks(model, density=0.2), label_smoothing=0.1)
    assert found.engine == "dense"
    assert found.engine_reason.endswith("not with label_smoothing = 0.1")


def test_auto_is_dense_for_targets_that_are_not_one_class_per_example():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 10), nn.Unflatten(1, (2, 5)))
    source = generator(0, "tokens")
    data = Split(inputs=torch.randn(40, 1, 6, 6, generator=source), targets=torch.randint(5, (40, 2), generator=source))
    recipe = Recipe(epochs=1, batch_size=20, lr=0.1)
    masks = random_masks(model, density=0.1)
    found = train(model, data, recipe, seed=0, masks=masks, engine="auto")
    assert found.engine == "dense"
    assert "one class number (int64) per example, not int64 of shape (40, 2)" in found.engine_reason
    with pytest.raises(ValueError, match=r"cannot train the model: its cross-entropy takes one class number"):
        train(model, data, recipe, seed=0, masks=masks, engine="sparse")


def test_kernels_that_return_nan_are_not_taken_for_the_model(monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 10))
    monkeypatch.setattr(torch, "tensor", lambda values: torch.full((len(values),), float("nan")))
    with pytest.raises(UnsupportedError, match="logits are not those"):
        engine(model, {}).built_for((1, 6, 6))


def test_a_batch_larger_than_the_recipes_is_taken():
    model = network("resnet-8", input_shape=SHAPE, classes=10, seed=0, width=0.5)
    masks = random_masks(model, density=0.3)
    apply_(model, masks)
    batches = [batch(examples, SHAPE, seed=examples) for examples in (8, 50, 8)]
    states = []
    for batch_size in (8, 50):
        sparse = engine(copy.deepcopy(model), masks, batch_size=batch_size)
        for inputs, targets in batches:
            sparse.step(inputs, targets, 0.05)
        states.append(sparse.checkpoint(3))
    assert all(torch.equal(states[0].model[name], states[1].model[name]) for name in states[0].model)
    assert all(torch.equal(states[0].momentum[name], states[1].momentum[name]) for name in states[0].momentum)


def test_a_view_of_what_a_convolution_returns_is_trained_by_both_engines():
    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 10)
            draw_(self)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            return self.fc(x.view(x.size(0), -1))

    masks = random_masks(Viewed(), density=0.3)
    dense, sparse = (trained(Viewed(), masks, shape=SHAPE, engine=engine, lr=0.01) for engine in ("dense", "sparse"))
    assert_close(dense.checkpoint, sparse.checkpoint)

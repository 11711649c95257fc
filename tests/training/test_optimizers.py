"""Every optimizer under masks: against torch's own loop, zeros, resumption, refusals."""

import inspect

import pytest
import torch
from torch import nn

from prunemark.recipes import OPTIMIZERS, Recipe
from prunemark.recipes.optimizers import _UNFIT
from prunemark.training import Checkpoint, train
from tests.training.small import assert_same, random_masks, small, split

OF_HOW = {"params", "foreach", "fused", "capturable", "differentiable", "maximize"}
OF_RECIPE = {"lr", "momentum", "weight_decay"}
# Half of an option that may be None, and what repeats another optimizer.
LEFT_OUT = {"adafactor": {"eps"}, "adam": {"decoupled_weight_decay"}}

OPTIONS = {
    "adagrad": {"initial_accumulator_value": 0.1},
    "adamw": {"betas": [0.8, 0.95], "amsgrad": True},
    "rmsprop": {"centered": True},
    "sgd": {"nesterov": True},
}
VARIANTS = [*((name, OPTIONS.get(name, {})) for name in OPTIMIZERS), ("sgd", {"dampening": 0.1}), ("adam", {"eps": 0})]


def recipe(name, options, **fields):
    decay = {} if OPTIMIZERS[name].weight_decay else {"weight_decay": 0}
    return Recipe(epochs=2, batch_size=8, optimizer=name, optimizer_options=options, **(decay | fields))


def test_the_table_takes_what_the_optimizers_of_torch_take():
    of_torch = {
        name.lower(): kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    assert of_torch.keys() - _UNFIT.keys() == OPTIMIZERS.keys()
    for name, entry in OPTIMIZERS.items():
        parameters = inspect.signature(of_torch[name]).parameters
        taken = parameters.keys() - OF_HOW - OF_RECIPE - LEFT_OUT.get(name, set())
        assert taken == entry.takes.keys(), name
        assert (entry.momentum is not None, entry.weight_decay) == (
            "momentum" in parameters,
            "weight_decay" in parameters,
        )
        if name != "sgd":
            assert entry.lr == parameters["lr"].default


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_steps_are_those_of_torch(name, options):
    data, ours, plain = split(8), small(), small()
    made = recipe(name, options, weight_decay=0.01 if OPTIMIZERS[name].weight_decay else 0)
    train(ours, data, made, seed=0)
    extra = {"momentum": made.momentum} if OPTIMIZERS[name].momentum is not None else {}
    extra |= {"weight_decay": 0.01} if OPTIMIZERS[name].weight_decay else {}
    optimizer = OPTIMIZERS[name].load()(plain.parameters(), lr=made.lr, **extra, **made.optimizer_options)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(data.inputs), data.targets).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        # The batch is in another order, so sums differ in their last digits; signs of next to nothing may differ.
        close = torch.isclose(one, other, rtol=1e-3, atol=1e-4)
        assert close.float().mean() > 0.95


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_pruned_weights_and_their_state_are_exactly_zero(name, options):
    model, masks = small(), random_masks(small())
    made = recipe(name, options, clip_norm=0.5, ema=0.5, mixup=0.3, label_smoothing=0.1)
    result = train(model, split(), made, seed=0, masks=masks).checkpoint
    for weight, mask in masks.items():
        shaped = [
            tensor
            for key, tensor in {**result.momentum, **result.optimizer}.items()
            if key.rpartition("/")[2] == weight and tensor.shape == mask.shape
        ]
        assert shaped or name == "adafactor"
        for tensor in (result.model[weight], result.average[weight], *shaped):
            assert not tensor[~mask].any()
        assert result.model[weight][mask].all()
        assert not model.get_parameter(weight)[~mask].any()


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_going_on_is_bit_identical_to_one_run(name, options, tmp_path):
    data, test, masks = split(), split(seed=1), random_masks(small())
    made = recipe(
        name, options, clip_norm=0.5, ema=0.5, mixup=0.3, augment=("cutout:2",), schedule="cosine", warmup_epochs=0.5
    )
    whole = train(small(), data, made, seed=3, masks=masks, test=test)
    for until in (1, 4):
        part = train(small(), data, made, seed=3, masks=masks, until=until).checkpoint
        part.save(tmp_path / "c.safetensors")
        start = Checkpoint.load(tmp_path / "c.safetensors")
        rest = train(small(), data, made, seed=3, masks=masks, test=test, start=start)
        assert_same(whole.checkpoint, rest.checkpoint)
        assert (whole.test_accuracy, whole.test_loss) == (rest.test_accuracy, rest.test_loss)


def test_a_mask_clears_the_state_of_a_dense_checkpoint():
    made = recipe("adam", {}, ema=0.5)
    dense = train(small(), split(), made, seed=0, until=3).checkpoint
    masks = random_masks(small())
    result = train(small(), split(), made, seed=0, masks=masks, start=dense, until=4).checkpoint
    for name, mask in masks.items():
        for tensor in (result.average[name], *(result.optimizer[f"adam/{kind}/{name}"] for kind in ("exp_avg",))):
            assert not tensor[~mask].any()


def test_clipping_scales_the_whole_gradient_down():
    made = Recipe(epochs=1, batch_size=8, lr=1.0, momentum=0, weight_decay=0)
    data = split(8)

    def moved(recipe):
        model = small()
        train(model, data, recipe, seed=0, until=1)
        return torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), small().parameters(), strict=True)])

    free, clipped = moved(made), moved(made.override({"clip_norm": 0.01}))
    assert clipped.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(clipped, free * 0.01 / free.norm(), rtol=1e-3, atol=1e-6)
    assert torch.equal(moved(made.override({"clip_norm": 1e6})), free)


def test_a_state_of_another_optimizer_is_refused():
    adam = train(small(), split(), recipe("adam", {}), seed=0, until=2).checkpoint
    with pytest.raises(ValueError, match="step 2 holds no state of radam that fits"):
        train(small(), split(), recipe("radam", {}), seed=0, start=adam)
    with pytest.raises(ValueError, match="step 2 holds no momentum that fits"):
        train(small(), split(), recipe("sgd", {}), seed=0, start=adam)
    sgd = train(small(), split(), recipe("sgd", {}), seed=0, until=2).checkpoint
    with pytest.raises(ValueError, match="step 2 holds no state of adam"):
        train(small(), split(), recipe("adam", {}), seed=0, start=sgd)
    averaged = train(small(), split(), recipe("sgd", {}, ema=0.5), seed=0, until=2).checkpoint
    other = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
    with pytest.raises(ValueError, match="another model"):
        train(other, split(), recipe("sgd", {}, ema=0.5), seed=0, start=averaged)


def test_what_torch_refuses_is_said_with_the_optimizer():
    with pytest.raises(ValueError, match=r"optimizer_options of rprop: Invalid eta"):
        train(small(), split(), recipe("rprop", {"etas": [1.5, 0.5]}), seed=0)


def test_dampening_without_momentum_dampens_nothing_and_goes_on():
    plain, dampened = (recipe("sgd", options, momentum=0) for options in ({}, {"dampening": 0.5}))
    half = train(small(), split(), dampened, seed=0, until=3).checkpoint
    assert_same(
        train(small(), split(), plain, seed=0).checkpoint,
        train(small(), split(), dampened, seed=0, start=half).checkpoint,
    )

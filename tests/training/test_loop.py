"""The training loop: arithmetic by hand, order, masks, resumption, divergence."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunemark.datasets import Split
from prunemark.models.prunable import prunable
from prunemark.networks import network
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training import Checkpoint, evaluate, train

TINY = Recipe(epochs=3, batch_size=16, lr=0.05, drops=(2,), warmup_epochs=0.5)


def split(examples=70, *, shape=(2, 5, 5), classes=3, seed=0):
    source = generator(seed, "test examples")
    return Split(
        inputs=torch.randn(examples, *shape, generator=source),
        targets=torch.randint(0, classes, (examples,), generator=source),
    )


def tiny(seed=0):
    return network("resnet-8", input_shape=(2, 5, 5), classes=3, width=0.25, seed=seed)


def random_masks(model, seed=0, density=0.3):
    source = generator(seed, "test masks")
    return {name: torch.rand(w.shape, generator=source) < density for name, w in prunable(model).items()}


def assert_equal(first, second):
    assert first.step == second.step
    for one, other in ((first.model, second.model), (first.momentum, second.momentum)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


class Logistic(nn.Module):
    """Logits (a x, b x) of one pixel x."""

    def __init__(self, a, b):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[a], [b]]))

    def forward(self, inputs):
        return inputs.flatten(1) @ self.weight.T


def test_three_steps_of_sgd_by_hand():
    inputs, targets = torch.tensor([[[[1.0]]], [[[-2.0]]]]), torch.tensor([0, 1])
    recipe = Recipe(epochs=3, batch_size=2, lr=0.5, momentum=0.9, weight_decay=0.01, drops=(2,))
    a, b, va, vb = 0.2, -0.1, 0.0, 0.0
    for lr in (0.5, 0.5, 0.05):
        p1, p2 = (1 / (1 + math.exp((b - a) * x)) for x in (1, -2))
        # d loss / d a, averaged over the two examples; that of b is its negative.
        slope = ((p1 - 1) * 1 + p2 * -2) / 2
        va, vb = 0.9 * va + slope + 0.01 * a, 0.9 * vb - slope + 0.01 * b
        a, b = a - lr * va, b - lr * vb
    result = train(Logistic(0.2, -0.1), Split(inputs=inputs, targets=targets), recipe, seed=0)
    assert result.checkpoint.step == 3
    torch.testing.assert_close(result.checkpoint.model["weight"], torch.tensor([[a], [b]]))
    torch.testing.assert_close(result.checkpoint.momentum["weight"], torch.tensor([[va], [vb]]))


class Recorder(nn.Module):
    """Remembers the first pixel of every example that it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.batches = []

    def forward(self, inputs):
        self.batches.append(inputs[:, 0, 0, 0].long().tolist())
        return self.weight.expand(len(inputs), 3)


def visits(examples, recipe, **options):
    model = Recorder()
    data = Split(
        inputs=torch.arange(examples).float()[:, None, None, None],
        targets=torch.zeros(examples, dtype=torch.int64),
    )
    train(model, data, recipe, **options)
    return model.batches


@pytest.mark.parametrize(("examples", "sizes"), [(32, [16, 16]), (35, [16, 16, 3]), (33, [16, 17]), (9, [9]), (1, [1])])
def test_every_epoch_visits_every_example_exactly_once(examples, sizes):
    batches = visits(examples, Recipe(epochs=3, batch_size=16), seed=0)
    assert [len(batch) for batch in batches] == sizes * 3
    for epoch in range(3):
        visited = [one for batch in batches[epoch * len(sizes) : (epoch + 1) * len(sizes)] for one in batch]
        assert sorted(visited) == list(range(examples))


def test_the_order_is_that_of_the_seed_and_epoch_and_of_nothing_else():
    recipe = Recipe(epochs=2, batch_size=16)
    batches = visits(32, recipe, seed=5)
    for epoch in range(2):
        expected = torch.randperm(32, generator=generator(5, "order", epoch)).tolist()
        assert batches[2 * epoch] + batches[2 * epoch + 1] == expected
    assert visits(32, recipe.override({"lr": 1e-3, "momentum": 0}), seed=5, until=3) == batches[:3]
    assert visits(32, recipe.override({"batch_size": 32}), seed=5)[0] == batches[0] + batches[1]
    assert visits(32, recipe, seed=6)[0] != batches[0]
    assert batches[:2] != batches[2:]


def test_equal_seeds_give_equal_runs_and_global_randomness_is_untouched():
    state = torch.get_rng_state()
    runs = []
    for _ in range(2):
        runs.append(train(tiny(), split(), TINY, seed=1, test=split(seed=1)))
        assert torch.equal(state, torch.get_rng_state())
        torch.rand(3)
        state = torch.get_rng_state()
    assert_equal(runs[0].checkpoint, runs[1].checkpoint)
    assert runs[0].test_loss == runs[1].test_loss
    other = train(tiny(), split(), TINY, seed=2).checkpoint
    assert not torch.equal(other.model["fc.weight"], runs[0].checkpoint.model["fc.weight"])


@pytest.mark.parametrize("until", [0, 1, 4, 5, 7, 15])
@pytest.mark.parametrize("masked", [False, True])
def test_going_on_from_a_checkpoint_is_bit_identical_to_one_run(until, masked, tmp_path):
    masks = random_masks(tiny()) if masked else None
    data, test = split(), split(seed=1)
    whole = train(tiny(), data, TINY, seed=3, masks=masks, test=test)
    part = train(tiny(), data, TINY, seed=3, masks=masks, until=until)
    assert part.checkpoint.step == until
    part.checkpoint.save(tmp_path / "c.safetensors")
    start = Checkpoint.load(tmp_path / "c.safetensors")
    rest = train(tiny(seed=9), data, TINY, seed=3, masks=masks, test=test, start=start)
    assert_equal(whole.checkpoint, rest.checkpoint)
    assert (whole.test_accuracy, whole.test_loss) == (rest.test_accuracy, rest.test_loss)
    assert whole.checkpoint.model["bn.num_batches_tracked"] == TINY.total_steps(len(data)) == 15


def test_a_run_without_momentum_goes_on_too():
    recipe = TINY.override({"momentum": 0})
    whole = train(tiny(), split(), recipe, seed=3)
    part = train(tiny(), split(), recipe, seed=3, until=7)
    assert part.checkpoint.momentum == {}
    assert_equal(whole.checkpoint, train(tiny(), split(), recipe, seed=3, start=part.checkpoint).checkpoint)


def test_the_model_ends_as_the_checkpoint_says_in_the_layout_and_mode_it_came_in():
    model = tiny().eval()
    result = train(model, split(), TINY, seed=0)
    assert_equal(Checkpoint.capture(model, step=15, momentum=result.checkpoint.momentum), result.checkpoint)
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert all(tensor.is_contiguous() for tensor in result.checkpoint.momentum.values())
    assert not model.training
    assert_equal(train(tiny(), split(), TINY, seed=0).checkpoint, result.checkpoint)
    assert all(parameter.grad is None for parameter in model.parameters())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), density=st.floats(0, 1), until=st.integers(0, 6))
def test_pruned_weights_and_their_momentum_are_exactly_zero_at_every_step(seed, density, until):
    model, data = tiny(seed), split(40)
    recipe = Recipe(epochs=2, batch_size=16, lr=0.1, momentum=0.9, weight_decay=0.1)
    masks = random_masks(model, seed, density)
    weights = prunable(model)
    seen = []

    def look(_module, _inputs):
        seen.append(all(not weights[name][~mask].any() for name, mask in masks.items()))

    model.register_forward_pre_hook(look)
    checkpoint = train(model, data, recipe, seed=seed, masks=masks, until=until).checkpoint
    assert seen == [True] * until
    for name, mask in masks.items():
        assert not checkpoint.model[name][~mask].any()
        if until:
            assert not checkpoint.momentum[name][~mask].any()
    if until and density > 0.5:
        assert all(checkpoint.model[name][mask].all() for name, mask in masks.items())


def test_a_mask_clears_weights_and_momentum_of_a_dense_checkpoint():
    dense = train(tiny(), split(), TINY, seed=0, until=3).checkpoint
    masks = random_masks(tiny())
    result = train(tiny(), split(), TINY, seed=0, masks=masks, start=dense, until=4).checkpoint
    for name, mask in masks.items():
        assert not result.model[name][~mask].any()
        assert not result.momentum[name][~mask].any()


class Steep(nn.Module):
    """Logits whose slope is infinite (or not a number) at the first weight, 0, and finite at the second."""

    def __init__(self, root):
        super().__init__()
        self.root = root
        self.weight = nn.Parameter(torch.tensor([0.0, 0.5]))

    def forward(self, inputs):
        root = self.weight[0].sqrt() if self.root else (self.weight[0] * self.weight[0]).sqrt()
        return torch.stack([root, self.weight[1]]) * inputs.flatten(1)


@pytest.mark.parametrize("root", [True, False])
def test_a_gradient_that_is_not_finite_stays_out_of_a_pruned_weight(root):
    probe = Steep(root)
    probe(torch.ones(1, 1, 1, 1)).sum().backward()
    assert not probe.weight.grad[0].isfinite()

    data = Split(inputs=torch.ones(4, 1, 1, 1), targets=torch.tensor([0, 1, 0, 0]))
    recipe = Recipe(epochs=3, batch_size=4)
    result = train(Steep(root), data, recipe, seed=0, masks={"weight": torch.tensor([False, True])})
    assert not result.diverged
    for tensor in (result.checkpoint.model["weight"], result.checkpoint.momentum["weight"]):
        assert tensor[0] == 0
        assert tensor[1].isfinite()
        assert tensor[1] not in (0, 0.5)


def test_the_first_epoch_learns_something():
    source = generator(0)
    targets = torch.arange(300) % 3
    inputs = torch.randn(300, 2, 5, 5, generator=source) + 2 * targets[:, None, None, None]
    data = Split(inputs=inputs, targets=targets)
    result = train(tiny(), data, Recipe(epochs=4, batch_size=16), seed=0, test=data)
    assert result.test_accuracy > 0.9
    assert result.train_seconds > 0


def test_history_has_one_record_an_epoch():
    model, data, test = tiny(), split(), split(seed=1)
    result = train(model, data, TINY, seed=0, test=test, evaluate_every_epoch=True)
    assert [(record["step"], record["epoch"]) for record in result.history] == [(5, 1), (10, 2), (15, 3)]
    assert set(result.history[0]) == {"step", "epoch", "test_accuracy", "test_loss", "train_loss"}
    assert result.history[-1]["test_accuracy"] == result.test_accuracy
    for record in result.history:
        part = train(tiny(), data, TINY, seed=0, test=test, until=record["step"])
        assert (part.test_accuracy, part.history) == (record["test_accuracy"], [])
        assert part.test_loss == record["test_loss"]
    final = evaluate(model, test.inputs, test.targets)
    assert (result.test_accuracy, result.test_loss) == (
        final.accuracy,
        pytest.approx(final.loss, rel=1e-5),
    )


def test_train_loss_is_the_mean_over_the_examples_of_the_epoch():
    data = split(35, shape=(1, 1, 1), classes=2)
    recipe = Recipe(epochs=1, batch_size=16, lr=1e-12, momentum=0, weight_decay=0)
    result = train(Logistic(0.3, -0.2), data, recipe, seed=0, test=data, evaluate_every_epoch=True)
    assert result.history[0]["train_loss"] == pytest.approx(result.test_loss, rel=1e-6)


def test_evaluating_every_epoch_changes_nothing():
    plain = train(tiny(), split(), TINY, seed=0, test=split(seed=1))
    watched = train(tiny(), split(), TINY, seed=0, test=split(seed=1), evaluate_every_epoch=True)
    assert_equal(plain.checkpoint, watched.checkpoint)
    assert (plain.test_accuracy, plain.test_loss) == (watched.test_accuracy, watched.test_loss)


def test_a_run_that_stops_within_an_epoch_is_evaluated_where_it_stops():
    options = {"seed": 0, "test": split(seed=1), "until": 7}
    plain = train(tiny(), split(), TINY, **options)
    watched = train(tiny(), split(), TINY, evaluate_every_epoch=True, **options)
    assert plain.test_loss == watched.test_loss != watched.history[-1]["test_loss"]


def test_train_loss_after_a_start_within_an_epoch_is_that_of_the_steps_taken():
    data, test, recipe = split(), split(seed=1), TINY.override({"lr": 1e-12})
    whole = train(tiny(), data, recipe, seed=0, test=test, evaluate_every_epoch=True)
    start = train(tiny(), data, recipe, seed=0, until=4).checkpoint
    rest = train(tiny(), data, recipe, seed=0, test=test, evaluate_every_epoch=True, start=start)
    assert rest.history[1:] == whole.history[1:]
    last_batch = torch.randperm(70, generator=generator(0, "order", 0))[64:]
    with torch.no_grad():
        logits = tiny().train()(data.inputs[last_batch])
    expected = nn.functional.cross_entropy(logits, data.targets[last_batch])
    assert rest.history[0]["train_loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_without_a_test_set_there_is_no_accuracy():
    result = train(tiny(), split(), TINY, seed=0, until=1)
    assert math.isnan(result.test_accuracy)
    assert math.isnan(result.test_loss)
    assert not result.diverged


def test_a_run_that_diverges_stops_is_flagged_and_is_evaluated():
    masks = random_masks(tiny())
    recipe = Recipe(epochs=50, batch_size=16, lr=1e25)
    result = train(tiny(), split(), recipe, seed=0, masks=masks, test=split(seed=1))
    assert result.diverged
    assert result.checkpoint.step < 20
    assert 0 <= result.test_accuracy <= 1
    for name, mask in masks.items():
        assert not result.checkpoint.model[name][~mask].any()
    again = train(tiny(), split(), recipe, seed=0, masks=masks, start=result.checkpoint)
    assert again.diverged
    assert again.checkpoint.step == result.checkpoint.step


def test_a_last_step_to_infinity_counts_as_diverged():
    data = Split(inputs=torch.full((2, 1, 1, 1), 1e20), targets=torch.tensor([0, 1]))
    recipe = Recipe(epochs=1, batch_size=2, lr=1e30, momentum=0)
    assert train(Logistic(1e-21, 0.0), data, recipe, seed=0).diverged


def test_a_final_single_example_does_not_break_batchnorm():
    model = network("resnet-8", input_shape=(1, 4, 4), classes=2, width=0.25)
    result = train(model, split(17, shape=(1, 4, 4), classes=2), Recipe(epochs=1, batch_size=16), seed=0)
    assert result.checkpoint.step == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": 16}, "from step 0 until step 16 of a schedule of 15 steps"),
        ({"until": -1}, "until step -1"),
        ({"evaluate_every_epoch": True}, "needs a test set"),
        ({"masks": {"conv.wieght": torch.ones(3)}}, 'unknown parameter "conv.wieght".*did you mean'),
        ({"masks": {"fc.weight": torch.ones(3, 16)}}, "fc.weight must be boolean"),
        ({"masks": {"fc.weight": torch.ones(3, 1, dtype=torch.bool)}}, r"shape \(3, 16\)"),
        ({"start": Checkpoint(step=1, model={})}, "checkpoint is of another model"),
        ({"start": Checkpoint.capture(tiny(), step=1)}, "holds no momentum that fits conv.weight"),
        ({"start": Checkpoint.capture(tiny(), step=9), "until": 8}, "from step 9 until step 8"),
    ],
)
def test_input_that_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        train(tiny(), split(), TINY, seed=0, **options)


class Dropped(nn.Module):
    """One linear layer behind dropout."""

    def __init__(self):
        super().__init__()
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(50, 3)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, inputs):
        return self.fc(self.drop(inputs.flatten(1)))


def test_what_a_model_draws_depends_on_the_seed_and_the_step_alone():
    model, state = Dropped(), torch.random.get_rng_state()
    whole = train(model, split(), TINY, seed=3).checkpoint
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state is restored"
    torch.manual_seed(2)
    first = train(Dropped(), split(), TINY, seed=3, until=4).checkpoint
    torch.rand(5)
    assert_equal(train(Dropped(), split(), TINY, seed=3, start=first).checkpoint, whole)
    other = train(Dropped(), split(), TINY, seed=4).checkpoint
    assert not torch.equal(other.model["fc.weight"], whole.model["fc.weight"])

"""The paths of a GPU, on a CPU: gradients in one piece, the fused optimizer with a tensor of a rate, recorded steps."""

import pytest
import torch
from torch import nn

from prunemark.datasets.coded import CodedInputs
from prunemark.models.zeroing import bits_like, kept_bits
from prunemark.recipes import Recipe
from prunemark.training import batches, train
from prunemark.training.engines.replay import Replayed
from prunemark.training.flat_gradients import FlatGradients
from prunemark.training.optimizers import MaskedOptimizer
from tests.training.small import random_masks, small, split


class Unused(nn.Module):
    """A network with a parameter that its first loss does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare = small().to(memory_format=torch.channels_last), nn.Linear(3, 3)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=1, lr=0.1),
        Recipe(epochs=1, lr=0.1, momentum=0.0, weight_decay=0.01, clip_norm=0.5),
        Recipe(epochs=1, lr=0.01, optimizer="adam"),
    ],
    ids=["sgd", "clipped", "adam"],
)
def test_steps_are_those_of_the_usual_path(recipe):
    data, states = split(), []
    for few_launches in (False, True):
        model = Unused()
        with torch.no_grad():
            model.spare.weight.fill_(0.5)
            model.spare.bias.fill_(0.5)
        parameters = dict(model.named_parameters())
        bits = {name: bits_like(kept_bits(m), parameters[name]) for name, m in random_masks(model).items()}
        optimizer = MaskedOptimizer(recipe, parameters, bits, None, few_launches=few_launches)
        for number, lr in enumerate((0.1, 0.1, 0.02, 0.02)):
            optimizer.zero_grad()
            outputs = model.body(data.inputs)
            # What has no gradient is not decayed; once it has one it is masked too.
            outputs = model.spare(outputs) if number >= 2 else outputs
            nn.functional.cross_entropy(outputs, data.targets).backward()
            optimizer.step(lr)
        assert all((p.detach()[bits[name] == 0] == 0).all() for name, p in parameters.items() if name in bits)
        assert optimizer.replays == (few_launches and recipe.optimizer == "sgd")
        optimizer.release()
        assert all(p.grad is None for p in parameters.values())
        states.append({name: p.detach() for name, p in parameters.items()})
    for name, usual in states[0].items():
        torch.testing.assert_close(states[1][name], usual, rtol=1e-5, atol=1e-7)


def test_gradients_of_pruned_weights_are_zero_whatever_they_were():
    parameters = {"a": nn.Parameter(torch.zeros(3, 5)), "b": nn.Parameter(torch.zeros(70, dtype=torch.float64))}
    mask = torch.arange(15).view(3, 5) % 2 == 0
    for parameter in parameters.values():
        parameter.grad = torch.full_like(parameter, torch.nan)
    flat = FlatGradients(parameters, {"a": bits_like(kept_bits(mask), parameters["a"])})
    flat.zero_pruned_()
    assert torch.equal(parameters["a"].grad.isnan(), mask)
    assert not parameters["a"].grad[~mask].signbit().any()
    assert parameters["b"].grad.isnan().all()
    flat.reset()
    assert not any(parameter.grad.any() for parameter in parameters.values())


def test_a_step_is_recorded_once_per_shape_and_replayed_on_new_inputs():
    taken: list[tuple[str, float]] = []
    recording = False

    def step(images, targets):
        taken.append(("recorded" if recording else "taken", float(images.sum())))
        return images.sum() + targets.sum()

    def record(function):
        nonlocal recording
        recording, loss = True, torch.zeros(())
        function()
        recording = False
        return lambda: loss.copy_(step(*held[-1])), loss

    held: list[tuple[torch.Tensor, torch.Tensor]] = []
    replayed = Replayed(lambda images, targets: held.append((images, targets)) or step(images, targets), record)
    losses = [replayed(torch.full((2, 3), float(number)), torch.zeros(2)) for number in range(6)]
    replayed(torch.ones(1, 3), torch.zeros(1))  # the last batch of an epoch is smaller
    assert [float(loss) for loss in losses] == [0, 6, 12, 18, 24, 30]
    assert [how for how, _ in taken] == ["taken"] * 3 + ["recorded"] + ["taken"] * 3 + ["taken"]


def test_a_step_that_cannot_be_recorded_is_taken_as_it_is_and_said():
    def refuse(function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    replayed = Replayed(lambda images, targets: images.sum(), refuse)
    inputs = torch.ones(2), torch.ones(2)
    assert [float(replayed(*inputs)) for _ in range(3)] == [2, 2, 2]
    with pytest.warns(UserWarning, match=r"launched one by one.*not permitted when stream is capturing$"):
        assert float(replayed(*inputs)) == 2
    assert float(replayed(*inputs)) == 2


def test_training_on_bytes_is_training_on_floats_bit_for_bit(monkeypatch):
    data = split(40)
    data.inputs.mul_(4).round_().add_(0.0)  # few values, and no -0.0
    recipe = Recipe(epochs=2, batch_size=16, lr=0.05, augment=("crop", "flip"))
    floats = train(small(), data, recipe, seed=0)
    coded: list[CodedInputs] = []

    def as_bytes(inputs, device, memory_format):
        coded.append(CodedInputs.of(inputs, device, memory_format=memory_format))
        return coded[-1]

    monkeypatch.setattr(batches, "inputs_on", as_bytes)
    held = train(small(), data, recipe, seed=0)
    assert isinstance(coded[0], CodedInputs)
    assert all(torch.equal(held.checkpoint.model[name], value) for name, value in floats.checkpoint.model.items())

"""Losses: values by hand, smoothing, own functions, and their refusals."""

import math

import pytest
import torch

from prunemark.recipes import Recipe
from prunemark.training import train
from prunemark.training.losses import batch_loss, make_loss
from prunemark.training.mixing import Mixed
from tests.training.small import small, split

OUTPUTS, TARGETS = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])


def loss(**fields):
    return make_loss(Recipe(epochs=1, **fields))


def own(tmp_path, text):
    (tmp_path / "mine.py").write_text(f"import torch\n\n\ndef loss(outputs, targets):\n    return {text}\n")
    return f"{tmp_path / 'mine.py'}:loss"


def test_smoothed_cross_entropy_by_hand_and_its_total_is_plain():
    first, second = (math.log(1 + math.exp(-2)), 2 + math.log(1 + math.exp(-2))), (math.log(2), math.log(2))
    smooth = (0.9 * first[0] + 0.1 * first[1], 0.9 * second[1] + 0.1 * second[0])
    made = loss(label_smoothing=0.2)
    assert made.mean(OUTPUTS, TARGETS).item() == pytest.approx(sum(smooth) / 2)
    assert made.total(OUTPUTS, TARGETS).item() == pytest.approx(first[0] + second[1])


def test_mean_square_of_classes_and_of_numbers():
    made = loss(loss="mse")
    assert made.mean(OUTPUTS, TARGETS).item() == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert made.total(OUTPUTS, TARGETS).item() == pytest.approx(1)
    assert made.mean(OUTPUTS, torch.tensor([[1.0, 2.0], [0.0, 0.0]])).item() == pytest.approx((1 + 4) / 4)
    with pytest.raises(ValueError, match=r"mse needs outputs of the targets' shape \(2,\), not \(2, 2\)"):
        made.mean(OUTPUTS, torch.tensor([1.0, 2.0]))


def test_mixed_targets_share_the_loss():
    made, mixed = loss(), Mixed(TARGETS, TARGETS.flip(0), 0.75)
    expected = 0.75 * made.mean(OUTPUTS, TARGETS) + 0.25 * made.mean(OUTPUTS, TARGETS.flip(0))
    assert batch_loss(made, OUTPUTS, mixed).item() == pytest.approx(expected.item())


def test_a_loss_of_ones_own_trains_and_is_what_is_reported(tmp_path):
    name = own(tmp_path, "torch.nn.functional.cross_entropy(outputs, targets)")
    recipe = Recipe(epochs=2, batch_size=8)
    plain = train(small(), split(), recipe, seed=0, test=split(seed=1))
    mine = train(small(), split(), recipe.override({"loss": name}), seed=0, test=split(seed=1))
    assert all(torch.equal(plain.checkpoint.model[key], mine.checkpoint.model[key]) for key in plain.checkpoint.model)
    assert mine.test_loss == pytest.approx(plain.test_loss, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outputs", r"mine.py:loss must return one real number as a tensor, not a tensor of shape \(8, 3\)"),
        ("1.0", "must return one real number as a tensor, not 1.0"),
        ("torch.zeros(())", "does not depend on the outputs"),
        ("outputs.what()", "mine.py:loss failed in line 5: AttributeError"),
    ],
)
def test_a_loss_of_ones_own_that_is_none_is_said(tmp_path, text, message):
    recipe = Recipe(epochs=1, batch_size=8, loss=own(tmp_path, text))
    with pytest.raises(ValueError, match=message):
        train(small(), split(), recipe, seed=0)

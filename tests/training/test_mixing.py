"""Mixup: the mixture, its draws, and that training uses it."""

import torch

from prunemark.recipes import Recipe
from prunemark.training import train
from prunemark.training.mixing import mix
from tests.training.small import small, split


def test_examples_are_mixed_with_their_partners_and_targets_go_along():
    inputs, targets = torch.arange(6.0)[:, None], torch.arange(6)
    mixed, both = mix(inputs, targets, 0.4, seed=1, epoch=2, position=3)
    assert torch.equal(both.first, targets)
    assert both.second.sort()[0].tolist() == list(range(6))
    assert 0 <= both.share <= 1
    torch.testing.assert_close(mixed[:, 0], both.share * both.first + (1 - both.share) * both.second)


def test_draws_depend_on_seed_and_place_alone():
    def draw(**place):
        _, both = mix(torch.zeros(9, 1), torch.arange(9), 0.4, **({"seed": 1, "epoch": 2, "position": 3} | place))
        return both.share, both.second.tolist()

    torch.manual_seed(0)
    assert draw() == draw()
    assert len({repr(draw()), *(repr(draw(**{part: 7})) for part in ("seed", "epoch", "position"))}) == 4


def test_the_share_is_drawn_from_the_beta_distribution():
    shares = [mix(torch.zeros(2, 1), torch.zeros(2), 2.0, seed=0, epoch=0, position=i)[1].share for i in range(400)]
    mean = sum(shares) / 400
    variance = sum((share - mean) ** 2 for share in shares) / 400
    # Beta(2, 2): mean 1/2, variance 1/20.
    assert abs(mean - 0.5) < 0.05
    assert abs(variance - 0.05) < 0.01


def test_training_mixes_and_its_first_loss_is_that_of_the_mixture():
    data, recipe = split(8), Recipe(epochs=1, batch_size=8, mixup=0.5, lr=1e-9)
    result = train(small(), data, recipe, seed=4, test=data, evaluate_every_epoch=True)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(_order_seed()))
    mixed, both = mix(data.inputs[order], data.targets[order], 0.5, seed=4, epoch=0, position=0)
    with torch.no_grad():
        outputs = small()(mixed)
    loss = torch.nn.functional.cross_entropy
    expected = both.share * loss(outputs, both.first) + (1 - both.share) * loss(outputs, both.second)
    torch.testing.assert_close(torch.tensor(result.history[0]["train_loss"]), expected, rtol=1e-4, atol=1e-5)


def _order_seed():
    from prunemark.randomness import derive

    return derive(4, "order", 0)

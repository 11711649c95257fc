"""FORCE and iterative SNIP against their definitions."""

import copy
import itertools

import pytest
import torch
from torch.nn import functional

import prunemark as pm
from prunemark.masks import Masks


def test_in_the_first_round_it_is_snip(convnet, batches):
    force, snip = (pm.score(convnet, name, data=batches[:1]) for name in ("force", "snip"))
    for name in snip:
        torch.testing.assert_close(force[name], snip[name])


def test_a_pruned_weight_is_scored_with_its_value_and_the_slope_at_zero(convnet, batches):
    net, (inputs, targets) = convnet.double(), (batches[0][0].double(), batches[0][1])
    masks = pm.prune(net, "random", sparsity=0.6)
    scores = pm.score(net, "force", data=[(inputs, targets)], within=masks)

    pruned = copy.deepcopy(net).train()
    masks.apply_(pruned)
    weight, original, step = pruned.down.weight.data.flatten(), net.down.weight.data.flatten(), 1e-6
    for index in range(0, len(weight), 37):
        at, losses = float(weight[index]), []
        for sign in (1, -1):
            weight[index] = at + sign * step
            losses.append(functional.cross_entropy(pruned(inputs), targets))
        weight[index] = at
        slope = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close(
            scores["down.weight"].flatten()[index], (original[index] * slope).abs(), rtol=1e-5, atol=1e-9
        )
    dead = ~masks["down.weight"]
    assert (scores["down.weight"][dead] > 0).any()


def test_gradients_of_batches_are_averaged_before_the_absolute_value(convnet, batches):
    together = pm.score(convnet, "force", data=batches, bn="eval")
    joined = [(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))]
    for name, score in pm.score(convnet, "force", data=joined, bn="eval").items():
        torch.testing.assert_close(together[name], score, rtol=1e-4, atol=1e-7)


@pytest.fixture
def history(convnet, batches):
    """The masks before and after each of 20 rounds of a method."""

    def collect(kind: type) -> list[Masks]:
        seen: list[Masks] = []

        class Spy(kind):
            def __call__(self, problem, /):
                seen.append(problem.masks)
                return super().__call__(problem)

        last = pm.prune(convnet, Spy(), sparsity=0.95, data=batches, rounds=20)
        return [*seen, last]

    return collect


def test_force_lets_pruned_weights_come_back_and_iterative_snip_does_not(history):
    def returns(masks: list[Masks]) -> int:
        return sum(int((after[n] & ~before[n]).sum()) for before, after in itertools.pairwise(masks) for n in after)

    assert returns(history(pm.methods.Force)) > 0
    assert returns(history(pm.methods.Snip)) == 0


def test_the_schedule_is_the_papers(history):
    masks = history(pm.methods.Force)
    total, final = masks[0].total, (1 - 0.95) * masks[0].total
    for t, after in enumerate(masks):
        log_count = torch.tensor([final, total], dtype=torch.float64).log() @ torch.tensor(
            [t / 20, 1 - t / 20], dtype=torch.float64
        )
        assert abs(after.kept - float(log_count.exp())) <= 0.5 + 1e-6


def test_a_new_batch_in_each_round(convnet, batches):
    got = pm.prune(convnet, "force", sparsity=0.9, data=batches, rounds=3, new_batch_each_round=True)
    masks = None
    for t, batch in enumerate([batches[0], batches[1], batches[0]], start=1):
        scores = pm.score(convnet, "force", data=[batch], within=masks)
        masks = pm.select(scores, sparsity=1 - (1 - 0.9) ** (t / 3))
    assert got == masks
    assert got != pm.prune(convnet, "force", sparsity=0.9, data=batches, rounds=3)


def test_iterative_snip_is_snip_in_sixty_rounds(convnet, batches):
    masks = pm.prune(convnet, "iter-snip", sparsity=0.9, data=batches)
    assert masks.provenance["rounds"] == 60
    assert masks == pm.prune(convnet, "snip", sparsity=0.9, data=batches, rounds=60)

"""Scoring code of other programs: called as it expects to be, or refused in a sentence that says what to change."""

import pytest
import torch
from torch import nn

import prunemark as pm
from prunemark.methods.other_signatures import bridged


class Pruner:
    """As in ganguli-lab/Synaptic-Flow: scores by the ids of parameters."""

    def __init__(self, masked_parameters):
        self.masked_parameters = list(masked_parameters)
        self.scores = {}

    def score(self, model, loss, dataloader, device):
        raise NotImplementedError


class Taylor(Pruner):
    def score(self, model, loss, dataloader, device):
        assert not model.training
        for data, target in dataloader:
            loss(model(data.to(device)), target.to(device)).backward()
        for mask, p in self.masked_parameters:
            assert mask.shape == p.shape
            self.scores[id(p)] = (p.grad * p).detach().abs_()


class OfMasks(Pruner):
    def score(self, model, loss, dataloader, device):
        for mask, _ in self.masked_parameters:
            mask.requires_grad = True
        for data, target in dataloader:
            loss(model(data), target).backward()
        for mask, p in self.masked_parameters:
            self.scores[id(p)] = torch.clone(mask.grad).detach().abs_()


class Forgetful(Pruner):
    def score(self, model, loss, dataloader, device):
        self.scores = {}


def taylor(problem):
    problem.model.eval()
    total = problem.zeros()
    for batch in problem.batches:
        for name, gradient in problem.gradients(problem.batch_loss(batch)).items():
            total[name] += gradient
    return {name: (weight * total[name]).detach().abs() for name, weight in problem.weights.items()}


def test_a_pruner_of_synaptic_flow_scores_as_its_equation_says(convnet, batches):
    found = pm.score(convnet, Taylor, data=batches)
    expected = pm.score(convnet, taylor, data=batches)
    for name, scores in expected.items():
        torch.testing.assert_close(found[name], scores)


def test_a_pruner_in_rounds_sees_the_masks(convnet, batches):
    assert pm.prune(convnet, Taylor, sparsity=0.9, rounds=3, data=batches).kept == round(
        0.1 * sum(w.numel() for w in pm.score(convnet, "magnitude").values())
    )


def test_a_pruner_that_needs_layers_of_its_own_is_told_what_to_change(convnet, batches):
    with pytest.raises(ValueError, match=r"OfMasks\.score reads the gradient of masks.*write p\.grad \* p in place of"):
        pm.score(convnet, OfMasks, data=batches)
    with pytest.raises(ValueError, match=r"Forgetful\.score gave stem\.weight no score: scores\[id\(weight\)\]"):
        pm.score(convnet, Forgetful, data=batches)


def test_a_function_of_model_loader_and_loss(convnet, batches):
    def score(model, dataloader, criterion):
        model.zero_grad()
        for inputs, targets in dataloader:
            criterion(model(inputs), targets).backward()
        return {
            f"{name}.weight": (module.weight * module.weight.grad).abs()
            for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }

    def in_order(net, loader, loss):
        return list(score(net, loader, loss).values())

    by_name = pm.score(convnet, score, data=batches)
    assert all(torch.equal(scores, by_name[name]) for name, scores in pm.score(convnet, in_order, data=batches).items())
    snip = pm.score(convnet, "snip", data=[batches[0]])
    for name, scores in pm.score(convnet, score, data=[batches[0]]).items():
        torch.testing.assert_close(scores, snip[name])


def test_a_function_that_returns_something_else_is_told_what(convnet, batches):
    def score(model, loader, loss):
        return torch.zeros(3)

    with pytest.raises(ValueError, match="score must return a score for each of the 4 prunable weights, by"):
        pm.score(convnet, score, data=batches)


def test_functions_of_a_problem_and_classes_of_methods_stay_as_they_are():
    def of_problem(problem, *, power=1): ...

    def of_a_model(model): ...

    for target in (of_problem, of_a_model, pm.methods.Snip, pm.methods.Snip()):
        assert bridged(target) is target

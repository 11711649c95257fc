"""Scores and masks of networks with BatchNorm, strides, shortcuts and biases, against code written from definitions.

`Reference` computes what ganguli-lab/Synaptic-Flow computes, in its own way: masks are tensors that multiply the
weights, SNIP is the gradient with respect to them, and a mask keeps what exceeds the k-th smallest score.
"""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

import prunemark as pm


class Hand(nn.Module):
    """A stride, a 1x1 shortcut, BatchNorm before and after sums, groups, and biases wherever there can be one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.down, self.norm_down = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12)
        self.shortcut, self.norm_shortcut = nn.Conv2d(8, 12, 1, stride=2), nn.BatchNorm2d(12)
        self.grouped = nn.Conv2d(12, 12, 3, groups=4)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.norm_down(self.down(x)) + self.norm_shortcut(self.shortcut(x)))
        return self.head(F.avg_pool2d(F.relu(self.grouped(x)), 2).mean((2, 3)))


SHAPE = (3, 9, 9)
NETWORKS = {
    "hand-made": Hand,
    "resnet-8": lambda: pm.network("resnet-8", input_shape=SHAPE, classes=5, seed=0),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """A network in float64 whose normalisation has seen data and is trained a little."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[request.param]().double()
        for _ in range(3):
            model(1.5 * torch.randn(16, *SHAPE, dtype=torch.float64) + 0.3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight)
                nn.init.normal_(module.bias, std=0.2)
    return model


source = torch.Generator().manual_seed(3)
X, Y = torch.randn(40, *SHAPE, generator=source, dtype=torch.float64), torch.arange(40) % 5
WHOLE = [(X, Y)]
UNEQUAL = [(X[:20], Y[:20]), (X[20:32], Y[20:32]), (X[32:], Y[32:])]


class Reference:
    """A masked network, scored and pruned."""

    def __init__(self, model: nn.Module, *, train: bool = False) -> None:
        self.model = copy.deepcopy(model).train(train)
        self.weights = {name: p for name, p in self.model.named_parameters() if p.ndim > 1}
        self.masks = {name: torch.ones_like(p) for name, p in self.weights.items()}

    def logits(self, x, masks):
        return functional_call(self.model, {name: p * masks[name] for name, p in self.weights.items()}, (x,))

    def snip(self, batches):
        masks = {name: mask.clone().requires_grad_() for name, mask in self.masks.items()}
        for x, y in batches:
            F.cross_entropy(self.logits(x, masks), y).backward()
        return {name: mask.grad.abs() for name, mask in masks.items()}

    def grasp(self, batches):
        weights, direction = list(self.weights.values()), 0
        losses = [lambda b=b: F.cross_entropy(self.logits(b[0], self.masks) / 200, b[1]) for b in batches]
        for loss in losses:
            direction = direction + torch.cat([g.flatten() for g in torch.autograd.grad(loss(), weights)])
        for loss in losses:
            gradient = torch.autograd.grad(loss(), weights, create_graph=True)
            (direction * torch.cat([g.flatten() for g in gradient])).sum().backward()
        return {name: (p * p.grad).detach() for name, p in self.weights.items()}

    def synflow(self, *, buffers, dtype):
        model = copy.deepcopy(self.model).to(dtype)
        with torch.no_grad():
            for tensor in (*model.parameters(), *(model.buffers() if buffers else ())):
                tensor.abs_()
        weights = {name: p for name, p in model.named_parameters() if name in self.masks}
        values = {name: p * self.masks[name].to(dtype) for name, p in weights.items()}
        flow = functional_call(model, values, (torch.ones(1, *SHAPE, dtype=dtype),)).sum()
        gradients = torch.autograd.grad(flow, list(weights.values()))
        return {name: (p * g).abs().detach() for (name, p), g in zip(weights.items(), gradients, strict=True)}

    def prune(self, score, density, rounds):
        for n in range(1, rounds + 1):
            scores = score(self)
            flat = torch.cat([s.flatten() for s in scores.values()])
            threshold = flat.kthvalue(int((1 - density ** (n / rounds)) * len(flat))).values
            self.masks = {name: (s > threshold).double() for name, s in scores.items()}
        return self.masks


def shares(scores):
    total = sum(s.sum() for s in scores.values())
    return {name: s / total for name, s in scores.items()}


def mean(parts):
    """The size-weighted mean over UNEQUAL."""
    return {
        name: sum(len(y) / 40 * part[name] for part, (_, y) in zip(parts, UNEQUAL, strict=True)) for name in parts[0]
    }


def assert_same(ours, theirs, rtol=1e-9):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        largest = float(theirs[name].abs().max())
        torch.testing.assert_close(ours[name], theirs[name], rtol=rtol, atol=rtol * largest)


modes = pytest.mark.parametrize("bn", ["train", "eval"])


@modes
def test_snip_of_one_and_of_unequal_batches(network, bn):
    def reference(batches):
        return Reference(network, train=bn == "train").snip(batches)

    assert_same(pm.score(network, "snip", data=WHOLE, bn=bn), reference(WHOLE))
    assert_same(pm.score(network, "snip", data=UNEQUAL, bn=bn), mean([reference([batch]) for batch in UNEQUAL]))
    assert_same(pm.score(network, "snip:mil-ad", data=UNEQUAL, bn=bn, redraw=False), reference(UNEQUAL[:1]))
    assert_same(pm.score(network, "snip:synaptic-flow", data=UNEQUAL, bn=bn), shares(reference(UNEQUAL)))
    assert_same(pm.score(network, "snip:official", data=UNEQUAL, bn=bn), shares(reference(UNEQUAL[:1])))


@modes
def test_grasp_of_one_and_of_unequal_batches_and_of_halves(network, bn):
    def reference(batches):
        return Reference(network, train=bn == "train").grasp(batches)

    plain = reference(WHOLE)
    assert_same(pm.score(network, "grasp", data=WHOLE, bn=bn), plain)
    assert_same(pm.score(network, "graspabs", data=WHOLE, bn=bn), {name: s.abs() for name, s in plain.items()})
    assert_same(pm.score(network, "grasp", data=UNEQUAL, bn=bn), mean([reference([batch]) for batch in UNEQUAL]))
    halves = [(X[:20], Y[:20]), (X[20:], Y[20:])]
    assert_same(pm.score(network, "grasp:halves", data=WHOLE, bn=bn), reference(halves))


PROGRAMS = {
    "synflow": {"buffers": False, "dtype": torch.float64},
    "synflow:synaptic-flow": {"buffers": True, "dtype": torch.float32},
}


@pytest.mark.parametrize("method", PROGRAMS)
def test_synflow_and_its_masks_of_20_rounds(network, method):
    program = PROGRAMS[method]
    theirs = Reference(network).synflow(**program)
    rtol = 1e-9 if program["dtype"] == torch.float64 else 1e-5
    assert_same(pm.score(network, method, input_shape=SHAPE), theirs, rtol)
    masks = pm.prune(network, method, sparsity=0.95, input_shape=SHAPE, rounds=20)
    kept = Reference(network).prune(lambda reference: reference.synflow(**program), 0.05, 20)
    # The program's last round keeps the ceiling.
    assert sum(int((masks[name] != kept[name].bool()).sum()) for name in kept) <= 1


@pytest.mark.parametrize("rounds", [1, 5])
def test_iterative_snip_of_synaptic_flow_revives_what_the_program_revives(network, rounds):
    masks = pm.prune(network, "snip:synaptic-flow", sparsity=0.9, data=WHOLE, rounds=rounds)
    kept = Reference(network).prune(lambda reference: reference.snip(WHOLE), 0.1, rounds)
    assert sum(int((masks[name] != kept[name].bool()).sum()) for name in kept) <= 1


@modes
@pytest.mark.parametrize("method", ["snip", "grasp"])
def test_masks_of_one_round(network, method, bn):
    masks = pm.prune(network, method, sparsity=0.9, data=WHOLE, bn=bn)
    reference = Reference(network, train=bn == "train")
    kept = reference.prune(lambda reference: getattr(reference, method)(WHOLE), 0.1, 1)
    assert sum(int((masks[name] != kept[name].bool()).sum()) for name in kept) <= 1

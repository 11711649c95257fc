"""The same work as programs do it that were written for one paper."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from prunemark.models.prunable import prunable


def usual_training(
    model: nn.Module, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor] | None, *, batch_size: int
) -> Callable[[int], None]:
    """What takes that many steps of SGD with a `DataLoader`; masked weights are multiplied by their mask after each."""
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=batch_size, shuffle=True)
    batches = chain.from_iterable(repeat(loader))
    weights = dict(model.named_parameters())
    factors = {name: mask.to(weights[name].dtype) for name, mask in (masks or {}).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    model.train()

    def steps(count: int) -> None:
        for _ in range(count):
            images, labels = next(batches)
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            with torch.no_grad():
                for name, factor in factors.items():
                    weights[name].mul_(factor)

    return steps


def usual_synflow(model: nn.Module, input_shape: Sequence[int], *, sparsity: float, rounds: int) -> dict[str, Tensor]:
    """SynFlow in float32, as ganguli-lab/Synaptic-Flow computes it: signs kept aside, one threshold by `kthvalue`.

    Returns:
        Masks as numbers, 1 = kept. The model's pruned weights are 0.
    """
    weights = prunable(model)
    masks = {name: torch.ones_like(weight) for name, weight in weights.items()}
    total = sum(mask.numel() for mask in masks.values())
    model.eval()
    ones = torch.ones(1, *input_shape)
    for number in range(1, rounds + 1):
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(masks[name])
            state = model.state_dict()
            signs = {name: values.sign() for name, values in state.items()}
            for values in state.values():
                values.abs_()
        model.zero_grad()
        model(ones).sum().backward()
        with torch.no_grad():
            slopes = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in weights.items()}
            scores = {name: (masks[name] * slopes[name] * weight).abs_() for name, weight in weights.items()}
            for name, values in state.items():
                values.mul_(signs[name])
            pruned = int((1 - (1 - sparsity) ** (number / rounds)) * total)
            threshold = torch.cat([score.flatten() for score in scores.values()]).kthvalue(max(1, pruned)).values
            for name, score in scores.items():
                masks[name].copy_(score > threshold)
    return masks


def passes_alone(model: nn.Module, inputs: Tensor, targets: Tensor, *, second: bool) -> None:
    """A gradient of the loss, and for `second` one more through it: the arithmetic of SNIP, and of GraSP."""
    weights = list(prunable(model).values())
    first = torch.autograd.grad(F.cross_entropy(model(inputs), targets), weights, create_graph=second)
    if second:
        torch.autograd.grad(torch.stack([(g * g.detach()).sum() for g in first]).sum(), weights)

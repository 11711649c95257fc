"""Why does GraSP hurt a perceptron at mild sparsities? What a mask does to the first steps.

    python grasp.py

For 48.8 % sparsity, and for 79 % with GraSP in rounds, means over three initialisations of LeNet-300-100 on
Fashion-MNIST: the loss on 5,000 training images before training, the squared norm of its gradient with respect to the
kept weights, and the largest eigenvalue of its Hessian there (by 30 power iterations); gradient descent is stable for
learning rates below 2 / eigenvalue.
"""

import torch
from torch import Tensor
from torch.nn import functional

import prunemark as pm

AT_ONCE = ("random", "magnitude", "snip", "grasp", "grasp shuffled", "grasp:reversed", "synflow")
IN_ROUNDS = ("random", "grasp", "grasp 10", "grasp 100", "grasp:reversed", "graspabs", "snip")


def sharpness(model: torch.nn.Module, masks: pm.Masks, inputs: Tensor, targets: Tensor) -> tuple[float, float, float]:
    masks.apply_(model)
    weights = [parameter for name, parameter in model.named_parameters() if name in masks]
    loss = functional.cross_entropy(model(inputs), targets)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    norm = sum((g * masks[name]).square().sum() for g, name in zip(gradients, masks, strict=True))
    source = torch.Generator().manual_seed(0)
    direction = [torch.randn(w.shape, generator=source) * masks[name] for w, name in zip(weights, masks, strict=True)]
    length = torch.tensor(0.0)
    for _ in range(30):
        length = torch.stack([d.square().sum() for d in direction]).sum().sqrt()
        direction = [d / length for d in direction]
        dot = torch.stack([(g * d).sum() for g, d in zip(gradients, direction, strict=True)]).sum()
        product = torch.autograd.grad(dot, weights, retain_graph=True)
        direction = [p * masks[name] for p, name in zip(product, masks, strict=True)]
    length = torch.stack([d.square().sum() for d in direction]).sum().sqrt()
    return loss.item(), norm.item(), length.item()


def main() -> None:
    torch.set_num_threads(1)
    data = pm.dataset("fashion-mnist")
    inputs, targets = data.train.inputs[:5000], data.train.targets[:5000]
    for sparsity, methods in ((1 - 0.8**3, AT_ONCE), (1 - 0.8**7, IN_ROUNDS)):
        print(f"{f'pruned to {100 * sparsity:.1f} %':<18}{'loss':>8}{'gradient^2':>12}{'sharpness':>11}")
        for method in methods:
            name, _, how = method.partition(" ")
            found = []
            for seed in range(3):
                model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=data.classes, seed=seed)
                rounds = int(how) if how.isdigit() else None
                masks = pm.prune(model, name, sparsity=sparsity, data=data, seed=seed, rounds=rounds)
                masks = pm.shuffle(masks, seed=seed) if how == "shuffled" else masks
                found.append(sharpness(model, masks, inputs, targets))
            loss, norm, curvature = (sum(values) / len(values) for values in zip(*found, strict=True))
            print(f"{method:<18}{loss:>8.2f}{norm:>12.2f}{curvature:>11.1f}", flush=True)


if __name__ == "__main__":
    main()

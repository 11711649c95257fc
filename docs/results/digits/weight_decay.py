"""What weight decay does to magnitude pruning after a training of 168 steps: python weight_decay.py 0.02"""

import sys

import torch

import prunemark as pm
from prunemark.recipes import recipe_for
from prunemark.training import train

torch.set_num_threads(1)
data = pm.dataset("digits")
recipe = recipe_for("resnet-8", "digits").override({"epochs": 8, "weight_decay": float(sys.argv[1])})


def fresh(seed: int) -> torch.nn.Module:
    """The network of a seed at initialisation."""
    return pm.network("resnet-8", input_shape=data.input_shape, classes=data.classes, seed=seed)


for seed in range(2):
    model = fresh(seed)
    initial = pm.prune(model, "magnitude", sparsity=0.98)
    end = train(model, data.train, recipe, seed=seed).checkpoint
    for sparsity in (0.95, 0.98, 0.99):
        masks = pm.prune(model, "magnitude", sparsity=sparsity)
        if sparsity == 0.98:
            shared = sum(int((masks[name] & initial[name]).sum()) for name in masks) / masks.kept
            print(f"seed {seed}: {shared:.0%} of the 98 % sparse mask is that of magnitude at initialisation")
        for name, chosen in (("magnitude after training", masks), ("shuffled", pm.shuffle(masks, seed=seed))):
            again = fresh(seed)
            again.load_state_dict(end.model)
            accuracy = train(again, data.train, recipe, seed=seed, masks=chosen, test=data.test).test_accuracy
            print(f"seed {seed}, sparsity {sparsity}: {name} {accuracy:.1%}")

"""How many kept weights lie on a path from input to output, in the study's masks at 99 % sparsity."""

import torch

import prunemark as pm
from prunemark.randomness import derive

torch.set_num_threads(1)
data = pm.dataset("fashion-mnist")
for replicate in range(3):
    seed = derive(0, "replicate", replicate)
    model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=data.classes, seed=seed)
    for method in ("synflow", "snip"):
        masks = pm.prune(model, method, sparsity=0.99, data=data, seed=seed)
        for name, chosen in ((method, masks), (f"{method}, shuffled", pm.shuffle(masks, seed=seed))):
            effective = pm.topology(model, chosen, input_shape=data.input_shape).effective
            print(f"replicate {replicate}, {name}: {effective:,} of {chosen.kept:,}")

"""How much of a mask a permutation within kernels leaves as it is, beside a shuffle: python overlap.py

Means over three initialisations of ResNet-8: the share of the kept weights that are kept again after permuting scores
within kernels (units.py) and after a shuffle of the layer; the share that is in 1x1 convolutions and the classifier,
where a kernel has one entry and nothing can be permuted; and how many entries a kept 3x3 kernel keeps.
"""

import torch
import units

import prunemark as pm

METHODS = {"snip": units.snip_within_kernels, "grasp": units.grasp_within_kernels}


def overlap(one: pm.Masks, other: pm.Masks) -> float:
    return sum(int((one[name] & other[name]).sum()) for name in one) / one.kept


def main() -> None:
    torch.set_num_threads(1)
    data = pm.dataset("digits")
    print(f"{'':<16}{'same, kernels':>15}{'same, shuffle':>15}{'one entry':>11}{'kept of 9':>11}")
    for level in (14, 17, 19):
        for method, permuted in METHODS.items():
            found = []
            for seed in range(3):
                model = pm.network("resnet-8", input_shape=data.input_shape, classes=data.classes, seed=seed)
                sparsity = 1 - 0.8**level
                masks = pm.prune(model, method, sparsity=sparsity, data=data, seed=seed)
                within = pm.prune(model, permuted, sparsity=sparsity, data=data, seed=seed)
                kernels = {name: mask.flatten(2) for name, mask in masks.items() if mask[0, 0].numel() > 1}
                counts = torch.cat([mask.sum(2).flatten() for mask in kernels.values()])
                single = 1 - int(counts.sum()) / masks.kept
                again, shuffled = overlap(masks, within), overlap(masks, pm.shuffle(masks, seed=seed))
                found.append((again, shuffled, single, int(counts.sum()) / int((counts > 0).sum())))
            again, shuffled, single, kept = (sum(values) / len(values) for values in zip(*found, strict=True))
            print(
                f"{f'{method} {100 * sparsity:.1f} %':<16}{again:>15.2f}{shuffled:>15.2f}{single:>11.2f}{kept:>11.2f}"
            )


if __name__ == "__main__":
    main()

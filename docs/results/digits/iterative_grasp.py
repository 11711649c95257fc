"""Why GraSP in several rounds collapses on the digits: it cuts the network, round by round.

    python iterative_grasp.py

Prints, for GraSP at 91.4 % sparsity in 1 to 10 rounds, means over five initialisations: kept weights on a path from
input to output, units that no kept weight leads into, and layers that lost every weight.
"""

import torch

import prunemark as pm

SPARSITY = 1 - 0.8**11


def main() -> None:
    torch.set_num_threads(1)
    data = pm.dataset("digits")
    print(f"{'rounds':>6}{'kept':>8}{'on paths':>10}{'empty units':>13}{'layers gone':>13}")
    for rounds in (1, 2, 3, 5, 10):
        found = []
        for seed in range(5):
            model = pm.network("resnet-8", input_shape=data.input_shape, classes=data.classes, seed=seed)
            masks = pm.prune(model, "grasp", sparsity=SPARSITY, data=data, seed=seed, rounds=rounds)
            topology = pm.topology(model, masks, input_shape=data.input_shape)
            empty = sum(layer.units_without_input for layer in topology.layers)
            found.append((topology.effective, empty, len(topology.collapsed)))
        on_paths, empty, gone = (sum(values) / len(values) for values in zip(*found, strict=True))
        print(f"{rounds:>6}{masks.kept:>8,}{on_paths:>10,.0f}{empty:>13.1f}{gone:>13.1f}")


if __name__ == "__main__":
    main()

"""Does shuffling cut paths? Every mask of a study as chosen and as shuffled, beside what the shuffle costs.

    python paths.py FOLDER STUDY     # a folder of results, and a study in it with the ablation shuffle

For each method and sparsity, means over replicates: the weights that are kept; those of them on a path from input to
output (`prunemark.topology`), as chosen and as shuffled in the study; units that no kept weight leads into, likewise;
and the difference in accuracy that shuffling made, in percentage points.
"""

import sys

import torch

import prunemark as pm
from prunemark.study.store import Store


def mean(values: list[int]) -> float:
    return sum(values) / len(values)


def main(folder: str, study: str) -> None:
    torch.set_num_threads(1)
    print(f"{'pruned by':<26}{'sparsity':>10}{'kept':>9}{'on paths':>22}{'empty units':>14}{'accuracy':>10}")
    with Store.reading(folder) as store:
        table = store.results(study)
        data = pm.dataset(table["dataset"].iloc[0])
        model = pm.network(table["network"].iloc[0], input_shape=data.input_shape, classes=data.classes)
        masked = table[table["ablation"].isin(["unmodified", "shuffle"]) & table["sparsity"].gt(0)]
        for (benchmark, method, sparsity), cell in masked.groupby(["benchmark", "method", "sparsity"], sort=False):
            if "shuffle" not in set(cell["ablation"]):
                continue
            on_paths: dict[str, list[int]] = {"unmodified": [], "shuffle": []}
            empty: dict[str, list[int]] = {"unmodified": [], "shuffle": []}
            for ablation, key in zip(cell["ablation"], cell["job_key"], strict=True):
                job = store.details(key)
                masks = pm.Masks.load(store.artifact(job["inputs"]["mask"]))
                if ablation == "shuffle":
                    masks = pm.shuffle(masks, seed=job["spec"]["seed"])
                topology = pm.topology(model, masks, input_shape=data.input_shape)
                on_paths[ablation].append(topology.effective)
                empty[ablation].append(sum(layer.units_without_input for layer in topology.layers))
            accuracy = cell.groupby("ablation")["test_accuracy"].mean()
            paths = f"{mean(on_paths['unmodified']):,.0f} -> {mean(on_paths['shuffle']):,.0f}"
            units = f"{mean(empty['unmodified']):.0f} -> {mean(empty['shuffle']):.0f}"
            change = 100 * (accuracy["shuffle"] - accuracy["unmodified"])
            print(f"{benchmark or method:<26}{sparsity:>10.1%}{masks.kept:>9,}{paths:>22}{units:>14}{change:>+10.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

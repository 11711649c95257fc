"""In which layer does a method's choice of weights matter? Masks of a study, shuffled in one layer only, and trained.

    python layers.py FOLDER STUDY LEVEL[,LEVEL ...] > layers.csv     # sparsities 1 - 0.8^LEVEL

For SNIP, SynFlow and magnitude after training, each replicate and each layer: the study's own mask with that
layer's entries permuted (as `prunemark.shuffle` permutes them), trained from the study's own weights with its recipe
and seed. "border" shuffles the first layer only among the weights of pixels that vary, so that no weight moves onto a
pixel that is the same in 99 % of the training images. `accuracy` is to be held against `unmodified`, the study's run.
"""

import sys

import torch

import prunemark as pm
from prunemark.recipes import Recipe
from prunemark.study.store import Store
from prunemark.training import Checkpoint, train

SERIES = {"snip": "", "synflow": "", "magnitude": "magnitude-after-training"}


def varying_pixels(inputs: torch.Tensor) -> torch.Tensor:
    """Which inputs of the first layer differ from their usual value in more than 1 % of the examples."""
    flat = inputs.flatten(1)
    return (flat != flat.mode(dim=0).values).float().mean(dim=0) > 0.01


def shuffled_columns(mask: torch.Tensor, columns: torch.Tensor, seed: int) -> torch.Tensor:
    """The mask with its entries in these columns permuted among themselves."""
    result = mask.clone()
    inside = result[:, columns]
    order = torch.randperm(inside.numel(), generator=torch.Generator().manual_seed(seed))
    result[:, columns] = inside.flatten()[order].view_as(inside)
    return result


def main(folder: str, study: str, levels: str) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    wanted = {round(1 - 0.8 ** int(level), 9) for level in levels.split(",")}
    with Store.reading(folder) as store:
        table = store.results(study)
        data = pm.dataset(table["dataset"].iloc[0])
        columns = varying_pixels(data.train.inputs)
        print(f"# {int(columns.sum())} of {len(columns)} pixels vary", file=sys.stderr)
        print("pruned_by,sparsity,replicate,shuffled,unmodified,accuracy")
        rows = table[(table["ablation"] == "unmodified") & table["sparsity"].round(9).isin(wanted)]
        for row in rows.itertuples():
            if SERIES.get(row.method) != row.benchmark:
                continue
            job = store.details(row.job_key)
            spec = job["spec"]
            masks = pm.Masks.load(store.artifact(job["inputs"]["mask"]))
            whole = pm.shuffle(masks, seed=spec["seed"])
            first = next(iter(masks))
            variants = {name: pm.Masks({**masks, name: whole[name]}) for name in masks}
            variants["border"] = pm.Masks(
                {**masks, first: shuffled_columns(masks[first], columns, spec["seed"] % 2**31)}
            )
            for layer, variant in variants.items():
                model = pm.network(row.network, input_shape=data.input_shape, classes=data.classes)
                model.load_state_dict(Checkpoint.load(store.artifact(job["inputs"]["weights"])).model)
                recipe = Recipe(**spec["recipe"])
                trained = train(model, data.train, recipe, seed=spec["seed"], masks=variant, test=data.test)
                numbers = f"{row.sparsity},{row.replicate},{layer},{row.test_accuracy:.4f},{trained.test_accuracy:.4f}"
                print(f"{row.benchmark or row.method},{numbers}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Measure and draw what each method keeps: the numbers and pictures of docs/gallery.md.

    python tools/make_gallery.py docs/gallery [METHOD ...]     # by default all of METHODS

ResNet-20 for 28x28 images, as drawn from seed 0, is pruned at initialisation to 98 % by every method with its own
rounds, on 10 examples per class of `fashion-mnist-small`. kept.csv gets a row per method and layer; each method that is
not a variant of another gets METHOD.svg, which shows the density of each layer and what of that is on a path from input
to output. All pictures have the same axis. Options that are not the defaults are in OPTIONS.
"""

import argparse
from pathlib import Path

import pandas as pd
import vl_convert

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.reports.figure import vega_lite_version

# 100 draws of 100 inputs each take as long as all other methods together.
OPTIONS = {"ntk-sap": {"examples": 10}}
NETWORK, DATASET, SPARSITY, SEED = "resnet-20", "fashion-mnist-small", 0.98, 0


def with_picture() -> list[str]:
    """The methods that have a section and a picture; all others of METHODS are variants of one of them."""
    variants = {name for name in METHODS if ":" in name} | {"graspabs"}
    return [name for name in METHODS if name not in variants]


def topology_of(method: str) -> pm.Topology:
    """What the method keeps."""
    data = pm.dataset(DATASET)
    model = pm.network(NETWORK, input_shape=data.input_shape, classes=data.classes, seed=SEED)
    masks = pm.prune(model, method, sparsity=SPARSITY, data=data, seed=SEED, **OPTIONS.get(method, {}))
    return pm.topology(model, masks, input_shape=data.input_shape)


def rows_of(method: str, topology: pm.Topology) -> list[dict[str, object]]:
    """One row per layer: counts of weights and units."""
    return [
        {
            "method": method,
            "layer": layer.label,
            "weights": layer.total,
            "kept": layer.kept,
            "on_path": layer.effective,
            "units": layer.units,
            "units_without_input": layer.units_without_input,
        }
        for layer in topology.layers
    ]


def table_of(kept: Path) -> str:
    """Markdown: what the first and last layers keep, what the largest ones keep, and what of all that is connected."""
    lines = [
        "| method | first layer | last layer | largest layers | on a path | units without an input |",
        "|---|---|---|---|---|---|",
    ]
    everything = pd.read_csv(kept)
    for method in with_picture():
        layers = everything[everything["method"] == method]
        first, last = layers.iloc[0], layers.iloc[-1]
        largest = layers[layers["weights"] == layers["weights"].max()]
        shares = [first.kept / first.weights, last.kept / last.weights, largest.kept.sum() / largest.weights.sum()]
        shares += [layers.on_path.sum() / layers.kept.sum()]
        cells = [f"[{method}](#{method})", *(f"{share:.1%}".replace("%", " %") for share in shares)]
        lines.append(f"| {' | '.join([*cells, str(layers.units_without_input.sum())])} |")
    return "\n".join(lines)


def main() -> None:
    """Write kept.csv and the pictures into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("destination", type=Path)
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    options = parser.parse_args()
    options.destination.mkdir(parents=True, exist_ok=True)
    table = options.destination / "kept.csv"
    before = pd.read_csv(table).to_dict("records") if table.exists() else []
    rows = {name: [row for row in before if row["method"] == name] for name in METHODS}
    for method in options.methods:
        topology = topology_of(method)
        rows[method] = rows_of(method, topology)
        pd.DataFrame([row for of_method in rows.values() for row in of_method]).to_csv(table, index=False)
        if method in with_picture():
            spec = topology.chart(limit=100).to_dict()
            svg = vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version())
            (options.destination / f"{method}.svg").write_text(svg, encoding="utf-8")
        print(f"{method}: {topology.findings[0]}", flush=True)


if __name__ == "__main__":
    main()

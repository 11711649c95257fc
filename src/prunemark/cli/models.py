"""`prune` and `inspect`: masks on the command line."""

import json as json_format
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunemark.cli import completion
from prunemark.cli.console import make_console

if TYPE_CHECKING:
    from torch import nn

    from prunemark import Masks, Topology

# Pixels a side that a masks file may ask for: no file may take all memory.
_LARGEST = 1024
_LARGEST_INPUT = 1 << 24
_LARGEST_CLASSES = 30_000  # ImageNet has 21,841


def prune(
    network: Annotated[
        str,
        typer.Argument(
            help="A network's name, or your function that returns one.",
            metavar="NETWORK|FILE.py:build",
            autocompletion=completion.networks,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where to write the masks.", metavar="MASKS.safetensors")],
    sparsity: Annotated[float, typer.Option(help="Fraction of the prunable weights to prune, in [0, 1).", metavar="S")],
    method: Annotated[
        str,
        typer.Option(
            help="A method, or a function of yours.",
            metavar="NAME|FILE.py:function",
            autocompletion=completion.methods,
        ),
    ] = "snip",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Gives examples, and the shape of an input and the number of classes.",
            metavar="NAME",
            autocompletion=completion.datasets,
        ),
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Without a data set: shape of one example, such as 3,32,32.", metavar="C,H,W")
    ] = None,
    classes: Annotated[int, typer.Option(help="Without a data set: number of classes.", min=1, metavar="N")] = 10,
    seed: Annotated[int, typer.Option(help="Random seed: fixes every random choice.", metavar="N")] = 0,
    rounds: Annotated[int | None, typer.Option(help="Rounds; by default the method's own.", min=1, metavar="N")] = None,
    quotas: Annotated[
        str | None,
        typer.Option(help="Layer budgets: uniform, uniform-plus, erk, igq, or a masks file.", metavar="RULE|MASKS"),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Prune the most important weights.")] = False,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Shuffle the masks within layers.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the data sets.", envvar="PRUNEMARK_DATA", metavar="DIR")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print counts and provenance as JSON instead.")] = False,
) -> None:
    """Prune a network at initialisation and write its masks."""
    import prunemark as pm
    from prunemark.own_code import explained

    if (dataset is None) == (input_shape is None):
        raise ValueError("give either --dataset, or --input-shape (and --classes): the network must know what comes in")
    _require_place(out)
    _require_names(network, method, quotas)
    data = pm.dataset(dataset, data_dir=data_dir) if dataset else None
    shape = data.input_shape if data else _shape(input_shape or "")
    _require_data(method, dataset)
    model = _model(network, shape, data.classes if data else classes, seed)
    budget: Any = pm.Masks.load(quotas) if quotas and Path(quotas).is_file() else quotas
    with explained(network), explained(method):
        masks = pm.prune(
            model,
            method,
            sparsity=sparsity,
            data=data,
            seed=seed,
            rounds=rounds,
            invert=invert,
            quotas=budget,
            input_shape=shape,
        )
    if shuffle:
        masks = pm.shuffle(masks, seed=seed)
    masks.provenance |= {
        "network": network,
        "input_shape": list(shape),
        "classes": data.classes if data else classes,
        "dataset": dataset,
    }
    masks.save(out)
    if json:
        print(json_format.dumps({"masks": str(out), **_facts(masks)}, indent=1, ensure_ascii=False))
        return
    console = make_console()
    console.print(str(masks), markup=False)
    console.print(f"masks: {out}", soft_wrap=True)


def inspect(
    masks: Annotated[Path, typer.Argument(help="A file of masks.", metavar="MASKS.safetensors")],
    network: Annotated[
        str | None,
        typer.Option(
            help="Show what they do to this network; by default the one they were made for.",
            metavar="NETWORK|FILE.py:build",
            autocompletion=completion.networks,
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(help="Shape of one example; by default the one they were made for.", metavar="C,H,W"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON instead.")] = False,
) -> None:
    """Print where masks come from, their exact counts, and what they do to the network."""
    import prunemark as pm
    from prunemark.models.prunable import prunable

    loaded = pm.Masks.load(masks)
    about = loaded.provenance
    console = make_console(quiet=json)
    for name, value in about.items():
        if value not in (None, {}, "") and name not in ("before", "certificate"):
            console.print(_printable(f"{name:<12} {_words(value)}"), markup=False, soft_wrap=True)
    for title, record in (("before", about.get("before")), ("certificate", about)):
        if isinstance(record, dict) and (certificate := record.get("certificate")):
            console.print(_printable(f"{title:<12} {_certificate(certificate)}"), markup=False, soft_wrap=True)
    console.print()
    made_for = _made_for(about)
    name, shape = network or made_for[0], _shape(input_shape) if input_shape else made_for[1]
    if network and not shape:
        raise ValueError(f"{masks} does not say what goes into the network: give --input-shape")
    if not name or not shape:
        console.print(_printable(str(loaded)), markup=False, soft_wrap=True)
        if json:
            print(json_format.dumps({"masks": str(masks), **_facts(loaded)}, indent=1))
        return
    classes = about.get("classes")
    if not isinstance(classes, int) or not 1 <= classes <= _LARGEST_CLASSES:
        classes = _classes(loaded)
    model = _model(name, shape, classes, seed=0)
    topology = pm.topology(model, loaded, input_shape=shape)
    console.print(str(topology), markup=False, soft_wrap=True)
    others = [each for each in prunable(model) if each not in loaded]
    if json:
        effects = {"network": name, "topology": _topology(topology), "without_mask": others}
        print(json_format.dumps({"masks": str(masks), **_facts(loaded), **effects}, indent=1))
    if others:
        console.print(
            f"{len(others):,} prunable tensors of {name} have no mask, the first of them {others[0]}.", markup=False
        )


def _facts(masks: "Masks") -> dict[str, Any]:
    layers = [{"name": c.name, "shape": list(c.shape), "kept": c.kept, "total": c.total} for c in masks.layers()]
    return {
        "sparsity": masks.sparsity,
        "kept": masks.kept,
        "total": masks.total,
        "layers": layers,
        "provenance": dict(masks.provenance),
    }


def _topology(found: "Topology") -> dict[str, Any]:
    layers = [
        {"name": layer.name, "kept": layer.kept, "effective": layer.effective, "dead_units": layer.units_off_path}
        for layer in found.layers
    ]
    return {"effective": found.effective, "cut": found.cut, "collapsed": list(found.collapsed), "layers": layers}


def _made_for(about: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Name of the network and shape of an input; empty where a file does not say, or says what cannot be.

    A file of the user's is run only when it is named on the command line: masks come from anywhere.
    """
    from prunemark.own_code import is_own_code

    name, shape = about.get("network"), about.get("input_shape")
    if not isinstance(name, str) or is_own_code(name):
        name = ""
    sides: list[Any] = shape if isinstance(shape, list) else []
    sound = all(type(side) is int and 1 <= side <= _LARGEST for side in sides) and math.prod(sides) <= _LARGEST_INPUT
    return name, tuple(sides) if sound else ()


def _certificate(certificate: Any) -> str:
    match certificate:
        case {"ablation": str(ablation), "changed": int(changed), "total": int(total), "checked": list(checked)}:
            facts = (f"{changed:,} of {total:,} entries changed", *map(str, checked))
            return f"{ablation}: {'; '.join(facts)}"
        case _:
            return _words(certificate)


def _classes(masks: Any) -> int:
    """The classifier is the last prunable layer of every network of ours."""
    return next(reversed(list(masks.values()))).shape[0]


def _model(name: str, shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    import prunemark as pm
    from prunemark.own_code import explained, is_own_code

    if not is_own_code(name) and len(shape) != 3:
        raise ValueError(f"{name} takes images (C, H, W), not {shape}")
    with explained(name):
        return pm.network(name, input_shape=shape, classes=classes, seed=seed)


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(f'--input-shape is written like "3,32,32", not {text!r}')
    return shape


def _require_place(out: Path) -> None:
    if not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ValueError(f"--out {out}: this is a folder; give the name of a file")


def _require_names(network: str, method: str, quotas: str | None) -> None:
    """Find out about wrong names before data are read or fetched."""
    from prunemark.methods import METHODS
    from prunemark.networks import NETWORKS
    from prunemark.own_code import is_own_code
    from prunemark.registry import find

    for table, kind, name in ((NETWORKS, "network", network), (METHODS, "method", method)):
        if not is_own_code(name):
            find(table, kind, name)
    if quotas and quotas.endswith(".safetensors") and not Path(quotas).is_file():
        raise ValueError(f"--quotas {quotas}: there is no such file")


def _require_data(method: str, dataset: str | None) -> None:
    from prunemark.methods import METHODS

    if dataset is None and method in METHODS and METHODS[method].needs_data:
        raise ValueError(f"{method} scores with examples: give --dataset instead of --input-shape")


def _printable(text: str) -> str:
    """Without what would steer the terminal: masks come from anywhere."""
    return "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in text)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value)

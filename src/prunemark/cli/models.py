"""`prune` and `inspect`: masks on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunemark.cli.console import make_console

if TYPE_CHECKING:
    from torch import nn


def prune(
    network: Annotated[
        str,
        typer.Argument(help="A network's name, or your function that returns one.", metavar="NETWORK|FILE.py:build"),
    ],
    out: Annotated[Path, typer.Option(help="Where to write the masks.", metavar="MASKS.safetensors")],
    sparsity: Annotated[float, typer.Option(help="Fraction of the prunable weights to prune, in [0, 1).")],
    method: Annotated[str, typer.Option(help="A method's name, or FILE.py:function.")] = "snip",
    dataset: Annotated[
        str | None, typer.Option(help="Gives examples, and the shape of an input and the number of classes.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Without a data set: shape of one example, such as 3,32,32.", metavar="C,H,W")
    ] = None,
    classes: Annotated[int, typer.Option(help="Without a data set: number of classes.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Names all random choices.")] = 0,
    rounds: Annotated[int | None, typer.Option(help="Rounds; by default the method's own.", min=1)] = None,
    quotas: Annotated[
        str | None, typer.Option(help="Layer budgets: uniform, uniform-plus, erk, igq, or a masks file.")
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Prune the most important weights.")] = False,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Shuffle the masks within layers.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data sets lie.", envvar="PRUNEMARK_DATA", metavar="DIR")
    ] = None,
) -> None:
    """Prune a network at initialisation and write its masks."""
    import prunemark as pm

    _require_folder(out)
    data = pm.dataset(dataset, data_dir=data_dir) if dataset else None
    if data is None and input_shape is None:
        raise ValueError("give --dataset, or --input-shape (and --classes): the network must know what comes in")
    shape = data.input_shape if data else _shape(input_shape or "")
    model = _model(network, shape, data.classes if data else classes, seed)
    budget: Any = pm.Masks.load(quotas) if quotas and Path(quotas).is_file() else quotas
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
    masks.provenance |= {"network": network, "input_shape": list(shape), "dataset": dataset}
    masks.save(out)
    console = make_console()
    console.print(str(masks), markup=False)
    console.print(f"masks: {out}", soft_wrap=True)


def inspect(
    masks: Annotated[Path, typer.Argument(help="A file of masks.", metavar="MASKS.safetensors")],
    network: Annotated[
        str | None, typer.Option(help="Also the topology in this network; by default the one they were made for.")
    ] = None,
) -> None:
    """Print where masks come from, their exact counts, and what they do to the network."""
    import prunemark as pm
    from prunemark.registry import is_file_reference

    loaded = pm.Masks.load(masks)
    console = make_console()
    for name, value in loaded.provenance.items():
        if value not in (None, {}, "") and name != "certificate":
            console.print(f"{name:<12} {_words(value)}", markup=False, soft_wrap=True)
    if certificate := loaded.provenance.get("certificate"):
        changed = f"{certificate['changed']:,} of {certificate['total']:,} entries changed"
        console.print(f"{'certificate':<12} {certificate['ablation']}: {changed}; {'; '.join(certificate['checked'])}")
    console.print()
    name, shape = network or loaded.provenance.get("network"), loaded.provenance.get("input_shape")
    if not name or not shape or (network is None and is_file_reference(name)):
        # A file of the user's is run only when it is named: masks come from anywhere.
        console.print(str(loaded), markup=False)
        return
    model = _model(name, tuple(shape), _classes(loaded), seed=0)
    console.print(str(pm.topology(model, loaded, input_shape=tuple(shape))), markup=False, soft_wrap=True)


def _classes(masks: Any) -> int:
    """The classifier is the last prunable layer of every network of ours."""
    return next(reversed(list(masks.values()))).shape[0]


def _model(name: str, shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    import torch

    import prunemark as pm
    from prunemark.randomness import derive
    from prunemark.registry import is_file_reference, load_file

    if not is_file_reference(name):
        if len(shape) != 3:
            raise ValueError(f"{name} takes images (C, H, W), not {shape}")
        return pm.network(name, input_shape=shape, classes=classes, seed=seed)
    build = load_file(name)
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "weights"))
        model = build(input_shape=shape, classes=classes)
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"{name} must return a torch.nn.Module, not {type(model).__name__}")
    return model


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(f'--input-shape is written like "3,32,32", not {text!r}')
    return shape


def _require_folder(out: Path) -> None:
    if not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return "x".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return str(value)

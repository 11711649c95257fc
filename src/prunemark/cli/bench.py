"""`bench`: how fast training and scoring are on this machine."""

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunemark.cli.console import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from prunemark.speed.timing import Measured

_BAR = 30  # characters, of the largest ratio


def bench(
    rounds: Annotated[int, typer.Option(help="Times that each side is measured.", min=1)] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead.")] = False,
) -> None:
    """Measure training and scoring against programs written in the usual way: ratios of processor times, one thread."""
    import torch

    from prunemark.speed.comparisons import comparisons
    from prunemark.speed.timing import measure
    from prunemark.training.engines.sparse import available_kernels

    progress = make_console(stderr=True)
    threads = torch.get_num_threads()
    # As in the workers of a study.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    measured: list[Measured] = []
    try:
        for comparison in comparisons():
            progress.print(f"measuring {comparison.what} ...", markup=False)
            measured.append(measure(comparison, rounds=rounds))
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    machine = _machine(str(torch.__version__), available_kernels())
    if json:
        print(json_format.dumps({"machine": machine, "comparisons": [asdict(each) for each in measured]}, indent=1))
        return
    show(make_console(), machine, measured)


def _machine(torch_version: str, kernels: list[str]) -> dict[str, Any]:
    from prunemark.study.processor import processor
    from prunemark.version import __version__

    return {
        "processor": processor(),
        "kernels": kernels[-1] if kernels else None,
        "prunemark": __version__,
        "torch": torch_version,
        "threads": 1,
    }


def show(console: "Console", machine: dict[str, Any], measured: "list[Measured]") -> None:
    """A table of the times, and a chart of the ratios."""
    kernels = f"kernels: {machine['kernels']}" if machine["kernels"] else "no kernels, so no sparse engine"
    console.print(f"{machine['processor']}, torch {machine['torch']}, one thread, {kernels}", markup=False)
    width = max(len(each.what) for each in measured)
    console.print(f"\n{'processor milliseconds':<{width}} {'ours':>10} {'theirs':>10}  against", markup=False)
    for each in measured:
        times = f"{each.ours_ms:>10,.2f} {each.rival_ms:>10,.2f}"
        console.print(f"{each.what:<{width}} {times}  {each.rival}", markup=False)
    most = max(1.0, *(each.ratio for each in measured))
    even = max(1, round(_BAR / most))
    console.print(f"\n{'times as fast as that':<{width}} {'':>7}{'|'.rjust(even)} = 1", markup=False)
    for each in measured:
        bar = "█" * max(1, round(_BAR * each.ratio / most))
        console.print(f"{each.what:<{width}} {each.ratio:>6.2f} {bar}", markup=False)

"""What a study's plan says about the engine of its trainings."""

import math

import torch
from torch import nn

from prunemark.training.engines import AUTO
from prunemark.training.engines.sparse import PAYS_BELOW, UnsupportedError, available_kernels
from prunemark.training.engines.timing import LayerCost, layer_costs

# Enough for the kernels to run as in a whole batch, and few enough to be measured within seconds.
_EXAMPLES, _LARGE_EXAMPLES, _LARGE = 32, 16, 20_000


def engine_words(model: nn.Module, input_shape: tuple[int, ...], *, engine: str, device: str) -> str:
    """Which trainings the sparse engine takes, and what each layer costs by either; empty where all are dense.

    Args:
        model: the dense network; left as it is.
        input_shape: of one example.
        engine, device: of the study's trainings.
    """
    if engine not in (AUTO, "sparse") or device != "cpu":
        return ""
    examples = _EXAMPLES if math.prod(input_shape) < _LARGE else _LARGE_EXAMPLES
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        costs = layer_costs(model, input_shape, batch=examples)
    except UnsupportedError as error:
        return f"engine: dense, because {error}" if available_kernels() else f"engine: dense: {error}"
    finally:
        torch.set_num_threads(threads)
    few = f"trainings whose masks leave under {PAYS_BELOW:.0%} of the multiplications"
    who = "all trainings" if engine == "sparse" else few
    lines = [
        f"engine: {engine} ({available_kernels()[-1]}), sparse for {who}; the expected time counts dense steps",
        *_table(costs, examples),
    ]
    return "\n".join(lines)


def _table(costs: list[LayerCost], examples: int) -> list[str]:
    densities = sorted(costs[0].sparse_ms, reverse=True)
    names = [f"{cost.shape}{f' ({cost.layers} layers)' if cost.layers > 1 else ''}" for cost in costs]
    title = f"ms for {examples} examples"
    width = max(map(len, [*names, title]))
    heads = "".join(f"{f'sparse {density:g}':>12}" for density in densities)
    lines = [f"{title:{width}}{'dense':>9}{heads}{'dense wins from':>17}"]
    for name, cost in zip(names, costs, strict=True):
        times = "".join(f"{cost.sparse_ms[density]:12.2f}" for density in densities)
        lines.append(f"{name:{width}}{cost.dense_ms:9.2f}{times}{cost.break_even:17.2f}")
    return lines

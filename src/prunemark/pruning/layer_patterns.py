"""Layers chosen by patterns for their names, each with a sparsity of its own; the others share what is left."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from prunemark.pruning.selection import keep_count


def pattern_problems(patterns: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """Problems of patterns with a network: a wrong sparsity, a pattern without a layer, a layer with two patterns."""
    layers, problems = list(names), list[str]()
    if not patterns:
        problems.append("a table of patterns needs at least one")
    for pattern, sparsity in patterns.items():
        if not 0 <= sparsity < 1:
            problems.append(f'"{pattern}": sparsity is the pruned fraction, in [0, 1); got {sparsity!r}')
        if not any(fnmatchcase(name, pattern) for name in layers):
            problems.append(f'the pattern "{pattern}" matches no layer; layers: {_listed(layers)}')
    for name in layers:
        matching = [f'"{pattern}"' for pattern in patterns if fnmatchcase(name, pattern)]
        if len(matching) > 1:
            problems.append(f"{name} is matched by {' and '.join(matching)}: one pattern per layer")
    return problems


def shares_by_pattern(patterns: Mapping[str, float], sizes: Mapping[str, int], keep: int) -> dict[str, float]:
    """Number of weights that each layer keeps, whole for those that a pattern matches.

    Args:
        patterns: pattern -> the sparsity of each layer that it matches, in [0, 1).
        sizes: layer -> its number of weights.
        keep: how many weights to keep over all layers.

    Raises:
        ValueError: a pattern that matches no layer, a layer that several match, a sparsity outside [0, 1), or a number
            of weights that the other layers cannot make up.
    """
    if problems := pattern_problems(patterns, sizes):
        raise ValueError("; ".join(problems))
    sparsity = {name: value for name in sizes for pattern, value in patterns.items() if fnmatchcase(name, pattern)}
    fixed = {name: float(keep_count(sizes[name], value)) for name, value in sparsity.items()}
    others = {name: size for name, size in sizes.items() if name not in fixed}
    kept, room = round(sum(fixed.values())), sum(others.values())
    if not others:
        exact = {name: (1 - value) * sizes[name] for name, value in sparsity.items()}
        # Layers that round each for themselves may be off by some weights: then all are rounded together.
        if abs(sum(exact.values()) - keep) > 0.5 + 1e-6:
            raise ValueError(
                f"the patterns match every layer and keep {kept:,} weights, but {keep:,} are to be kept; leave a layer "
                "to share what is left, or give the sparsity that they add up to"
            )
        return exact
    if not kept <= keep <= kept + room:
        most = f"{kept + room:,} at most, with all of the other layers" if keep > kept else f"{kept:,} at least"
        raise ValueError(f"the patterns keep {most}, but {keep:,} weights are to be kept")
    return fixed | {name: (keep - kept) * size / room for name, size in others.items()}


def _listed(layers: list[str], most: int = 8) -> str:
    rest = f" and {len(layers) - most} more" if len(layers) > most else ""
    return f"{', '.join(layers[:most])}{rest}"

"""Weights about which a method said nothing: their score is exactly 0, and position decides."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from prunemark.masks import Masks
from prunemark.methods.base import ZeroMeans

_LAYERS_NAMED = 3


class UnscoredWarning(UserWarning):
    """Kept weights have a score of exactly 0: the method said nothing about them, and position decided among them."""


def require_scores(scores: Mapping[str, Tensor], meaning: ZeroMeans) -> None:
    """Raise a ValueError if every score is exactly 0, unless 0 is a score like any other."""
    if meaning == "score" or any(bool(score.any()) for score in scores.values()):
        return
    raise ValueError(
        f"every score is exactly 0, in {_layers(dict.fromkeys(scores, ''))}: nothing was said about any weight. Usual "
        "causes: a loss that does not depend on the outputs (pass loss=), a head or normalisation that begins at 0 "
        "(initialise it otherwise, or prune after some training), gradients switched off in forward"
    )


def unscored(
    scores: Mapping[str, Tensor],
    chosen: Masks,
    *,
    meaning: ZeroMeans,
    within: Masks | None = None,
    per_layer: bool = False,
    moment: Literal["last round", "earlier round"] = "last round",
) -> dict[str, Tensor]:
    """The kept weights of one round that count as unscored: layer -> boolean tensor, of layers that have any.

    A kept weight with a score of exactly 0 counts if position decided, that is, if another weight with a score of 0
    was pruned in this round. If zeros are known to mean "unscored" (a product with a gradient), it counts in the last
    round wherever any weight was pruned: signed scores may keep all zeros and prune negative ones.

    Args:
        scores: larger = keep.
        chosen: what this round keeps.
        meaning: what a score of 0 says, see `Method`; where it is a score like any other, nothing counts.
        within: the weights that this round could choose from; None = all.
        per_layer: weights were ranked within their layer only.
        moment: whether later rounds score the kept weights again.
    """
    if meaning == "score":
        return {}
    kept = {name: zero for name, score in scores.items() if (zero := (score == 0).logical_and_(chosen[name])).any()}
    survivors = within if within is not None else Masks.ones(scores)
    any_zero_counts = meaning == "unscored" and moment == "last round"

    def decided(name: str) -> bool:
        pruned = survivors[name] & ~chosen[name]
        return bool((pruned if any_zero_counts else pruned.logical_and_(scores[name] == 0)).any())

    if per_layer:
        return {name: zero for name, zero in kept.items() if decided(name)}
    return kept if kept and any(map(decided, scores)) else {}


def sentence(method: str, masks: Masks) -> str:
    """Message to the user about masks with unscored weights."""
    return (
        f"{method} gave {masks.unscored:,} of the {masks.kept:,} kept weights a score of exactly 0, in "
        f"{_layers({name: f' {count:,}' for name, count in masks.provenance['unscored'].items()})}: it said nothing "
        "about them, and among them position decides. Usual causes: a head or a residual branch's last normalisation "
        "that begins at 0 (zero_init_residual, zero_init_last), units or inputs that are 0 for all examples, or more "
        "rounds than the network survives"
    )


def _layers(notes: Mapping[str, str]) -> str:
    """The first layers by name, each with its note, and how many there are besides."""
    named = [f"{name}{note}" for name, note in list(notes.items())[:_LAYERS_NAMED]]
    rest = len(notes) - len(named)
    return ", ".join(named) + (f" and {rest} more layer{'' if rest == 1 else 's'}" if rest else "")

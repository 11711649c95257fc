"""Proofs, made at run time and stored with the run, that an ablation did what it says."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunemark.masks import Masks
from prunemark.models.initialization import other_distribution
from prunemark.models.prunable import prunable

# A layer with more arrangements than this does not come out of a uniform shuffle as it went in.
_ARRANGEMENTS_BEYOND_CHANCE = 1e9
# Of more weights than this not all keep their sign by chance.
_FEWEST_BEYOND_CHANCE = 30


class CertificateError(RuntimeError):
    """An ablation did not do what it says."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Record of what an ablation changed, checked against its definition.

    Attributes:
        ablation: a name in `prunemark.terms.ablations.ABLATIONS`.
        changed: how many entries (of masks; for reinit, of prunable weights) differ from before.
        total: of how many.
        layers: per layer, "changed" or why it could not ("all kept", "all pruned") or did not ("by chance").
        checked: the properties that were verified, in words.
        tied: of an inversion, how many survivors scored the same as the last one kept, some of which were kept and
            others pruned, by position; 0 where the scores decided everything. Of the last round.
        undefined_from: of an inversion, the first round in which position decided so; None if there is none.
        unscored: of masks, how many kept weights count as unscored, see `Masks.unscored`.

    Examples:
        >>> record = pm.shuffle(masks, seed=0).provenance["certificate"]
        >>> record["layers"]
        {'1.weight': 'changed', '3.weight': 'changed'}
    """

    ablation: str
    changed: int
    total: int
    layers: dict[str, str]
    checked: tuple[str, ...]
    tied: int = 0
    undefined_from: int | None = None
    unscored: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self) | {"checked": list(self.checked)}


def certify_shuffle(before: Masks, after: Masks) -> Certificate:
    """Certify that per-layer counts are identical and that each mask changed, where it could.

    Raises:
        CertificateError: a count differs, or a mask is unchanged though chance cannot explain it.
    """
    if list(before) != list(after):
        raise CertificateError("the shuffled masks have other layers than the masks")
    layers: dict[str, str] = {}
    changed = 0
    for old, new in zip(before.layers(), after.layers(), strict=True):
        if old.kept != new.kept or old.shape != new.shape:
            raise CertificateError(f"shuffling changed the count of {old.name}: {old.kept} -> {new.kept}")
        differing = int((before[old.name] != after[old.name]).sum())
        changed += differing
        if differing:
            layers[old.name] = "changed"
        elif old.kept in (0, old.total):
            layers[old.name] = "all pruned" if old.kept == 0 else "all kept"
        elif math.log(_ARRANGEMENTS_BEYOND_CHANCE) < _log_choose(old.total, old.kept):
            raise CertificateError(f"shuffling left the mask of {old.name} as it was")
        else:
            layers[old.name] = "by chance"
    return Certificate(
        ablation="shuffle",
        changed=changed,
        total=before.total,
        layers=layers,
        checked=("per-layer counts are identical", "every mask that could change did, but for chance"),
        unscored=before.unscored,
    )


def certify_reinit(before: nn.Module, after: nn.Module, *, initial: nn.Module | None = None) -> Certificate:
    """Certify that every prunable weight tensor was drawn afresh, from the distribution of the initial ones.

    Args:
        before: the network whose weights were replaced.
        after: with the new weights.
        initial: the network as it was initialised: each parameter of `after` is compared with its own, see
            `prunemark.models.initialization.other_distribution`. None: not compared, and not certified.

    Raises:
        CertificateError: a tensor is missing, has another shape, no entry of it changed, or it is of another
            distribution.
    """
    checked = ["every prunable tensor holds new values"]
    if initial is not None:
        found = other_distribution(dict(initial.named_parameters()), dict(after.named_parameters()))
        if found:
            raise CertificateError(f"reinitialising drew from another distribution than the initial one: {found}")
        checked.append("every parameter is distributed as the initial ones are")
    old, new = prunable(before), prunable(after)
    if {name: w.shape for name, w in old.items()} != {name: w.shape for name, w in new.items()}:
        raise CertificateError("the reinitialised network has other prunable weights than the network")
    counts = {name: int((old[name].detach() != new[name].detach()).sum()) for name in old}
    for name, count in counts.items():
        if count == 0:
            raise CertificateError(f"reinitialising left {name} as it was")
    return Certificate(
        ablation="reinit",
        changed=sum(counts.values()),
        total=sum(weight.numel() for weight in old.values()),
        layers=dict.fromkeys(counts, "changed"),
        checked=tuple(checked),
    )


def certify_redraw(ablation: str, before: nn.Module, after: nn.Module, drawn: nn.Module) -> Certificate:
    """Certify that one half of each prunable weight, sign or magnitude, is the old one and the other the drawn one.

    Args:
        ablation: "redraw-magnitudes" or "redraw-signs".
        before: the network whose weights were replaced.
        after: with the new weights.
        drawn: the fresh weights of which a half was taken.

    Raises:
        CertificateError: a weight is not what the ablation says, or no weight of a tensor changed.
    """
    old, new, fresh = prunable(before), prunable(after), prunable(drawn)
    signs, magnitudes = (old, fresh) if ablation == "redraw-magnitudes" else (fresh, old)
    counts: dict[str, int] = {}
    for name, weight in new.items():
        if not torch.equal(weight.abs(), magnitudes[name].abs()):
            raise CertificateError(f"{ablation}: {name} has magnitudes that it should not have")
        if not torch.equal(weight.signbit(), signs[name].signbit()):
            raise CertificateError(f"{ablation}: {name} has signs that it should not have")
        counts[name] = int((weight != old[name]).sum())
        if counts[name] == 0 and weight.numel() > _FEWEST_BEYOND_CHANCE:
            raise CertificateError(f"{ablation} left {name} as it was")
    halves = ("signs", "magnitudes") if ablation == "redraw-magnitudes" else ("magnitudes", "signs")
    return Certificate(
        ablation=ablation,
        changed=sum(counts.values()),
        total=sum(weight.numel() for weight in new.values()),
        layers={name: "changed" if count else "by chance" for name, count in counts.items()},
        checked=(f"{halves[0]} are the old ones, {halves[1]} the drawn ones",),
    )


def certify_invert(
    scores: Mapping[str, Tensor],
    masks: Masks,
    *,
    within: Masks | None = None,
    per_layer: bool = False,
    earlier: Certificate | None = None,
    round: int = 1,
) -> Certificate:
    """Certify that an inverted selection kept the weights that rank last among those it could choose from.

    Checks that no kept score exceeds a pruned score of a survivor, over the whole network or, `per_layer`,
    within each layer. `changed` counts the weights that the plain selection of the same count decides otherwise.
    Survivors that tie at the cut are counted, for position alone decides which of them are kept.

    Args:
        scores: the scores that were ranked.
        masks: what the inverted selection kept.
        within: the weights that it could choose from; None = all.
        per_layer: weights were ranked within their layer only.
        earlier: the certificate of the round before.
        round: which round this is, from 1.

    Raises:
        CertificateError: a higher score was kept while a lower one was pruned.
    """
    survivors = within if within is not None else Masks.ones(masks)
    groups = [[name] for name in masks] if per_layer else [list(masks)]
    layers: dict[str, str] = {}
    changed = tied = 0
    for group in groups:
        kept = torch.cat([scores[name][masks[name]].double() for name in group])
        pruned = torch.cat([scores[name][survivors[name] & ~masks[name]].double() for name in group])
        if len(kept) and len(pruned) and kept.max() > pruned.min():
            raise CertificateError(f"inverting kept a score of {kept.max():g} and pruned one of {pruned.min():g}")
        outcome = "changed" if len(kept) and len(pruned) else ("all kept" if len(kept) else "all pruned")
        layers |= dict.fromkeys(group, outcome)
        # The plain selection keeps the first len(kept) ranks, the inverted one the last.
        changed += 2 * min(len(kept), len(pruned))
        if len(kept) and len(pruned) and (cut := kept.max()) == pruned.min():
            tied += int((kept == cut).sum()) + int((pruned == cut).sum())
    undefined_from = earlier.undefined_from if earlier is not None else None
    if undefined_from is None and tied:
        undefined_from = round
    checked = ("no kept score exceeds a pruned one", f"ranked over {survivors.kept:,} surviving weights")
    if undefined_from is not None:
        checked += (
            f"order undefined from round {undefined_from}: among weights that tied at the cut position chose "
            f"({tied:,} in round {round})",
        )
    return Certificate(
        ablation="invert",
        changed=changed,
        total=survivors.kept,
        layers=layers,
        checked=checked,
        tied=tied,
        undefined_from=undefined_from,
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

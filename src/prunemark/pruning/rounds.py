"""Rounds of pruning: quotas and selection, with what they leave to tell: weights without a score, inverted ranks."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from prunemark.ablations.certificates import Certificate, certify_invert
from prunemark.masks import Masks
from prunemark.methods.base import ZeroMeans
from prunemark.pruning.quotas import LayerCounts, Quotas
from prunemark.pruning.quotas import quotas as layer_quotas
from prunemark.pruning.selection import select_count, select_with_threshold
from prunemark.pruning.unscored import unscored


class Rounds:
    """The selections of one pruning, one after the other; each chooses among what the one before it kept.

    Args:
        meaning: what a score of exactly 0 says, see `Method.zero_means`.
        last: how many rounds there will be.
        within: only weights that these masks keep are ranked in the first round; None = all.
        revives: whether every round ranks all weights again, pruned ones included.
        invert: keep the weights that rank last. Each choice is certified.
        quotas: how many each layer keeps, as in `prunemark.pruning.prune`; of several rounds their
            `prunemark.pruning.quotas.goal`.
    """

    def __init__(
        self,
        meaning: ZeroMeans,
        *,
        last: int = 1,
        within: Masks | None = None,
        revives: bool = False,
        invert: bool = False,
        quotas: Quotas | LayerCounts | None = None,
    ) -> None:
        self.masks = within
        self._meaning: ZeroMeans = meaning
        self._last = last
        self._revives = revives
        self._invert = invert
        self._quotas: Quotas | LayerCounts | None = quotas
        self._round = 0
        self._silent: Mapping[str, Tensor] = {}
        self._certificate: Certificate | None = None

    def choose(self, scores: Mapping[str, Tensor], keep: int) -> Masks:
        """Keep the `keep` weights that rank first.

        Args:
            scores: finite, one tensor per prunable weight tensor, larger = keep.
            keep: how many weights to keep over all layers.

        Raises:
            ValueError: more weights asked for than survive, or quotas that cannot be met.
        """
        self._round += 1
        survivors = None if self._revives else self.masks
        budget = None
        if self._quotas is not None:
            shapes = {name: tuple(layer.shape) for name, layer in scores.items()}
            caps = None if survivors is None else {count.name: count.kept for count in survivors.layers()}
            budget = layer_quotas(self._quotas, shapes, keep, caps=caps)
        per_layer = budget is not None
        lowest = -math.inf
        if self._invert or per_layer:
            chosen = select_count(scores, keep, within=survivors, invert=self._invert, quotas=budget)
        else:
            chosen, lowest = select_with_threshold(scores, keep, survivors)
        if self._invert:
            self._certificate = certify_invert(
                scores, chosen, within=survivors, per_layer=per_layer, earlier=self._certificate, round=self._round
            )
        fresh: Mapping[str, Tensor] = {}
        if lowest <= 0:  # else no kept weight has a score of 0
            fresh = unscored(
                scores,
                chosen,
                meaning=self._meaning,
                within=survivors,
                per_layer=per_layer,
                moment="last round" if self._round == self._last else "earlier round",
            )
        self._silent = fresh if survivors is None else _either(self._silent, fresh)
        self.masks = chosen
        return chosen

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that further rounds depend on: tensors by name, and what else there is, JSON."""
        assert self.masks is not None
        tensors: dict[str, Tensor] = {f"mask/{name}": mask for name, mask in self.masks.items()}
        tensors |= {f"silent/{name}": silent for name, silent in self._silent.items()}
        certificate = None if self._certificate is None else self._certificate.to_dict()
        return tensors, {"round": self._round, "order": list(self.masks), "certificate": certificate}

    def resume(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Masks:
        """Go on from a `state`; returns its masks."""
        device = next(iter(self.masks.values())).device if self.masks else None
        self._round = facts["round"]
        # The order of the layers breaks ties.
        masks = Masks({name: tensors[f"mask/{name}"].to(device) for name in facts["order"]})
        silent = {name.removeprefix("silent/"): each for name, each in tensors.items() if name.startswith("silent/")}
        self._silent = {name: silent[name].to(device) for name in masks if name in silent}
        if certificate := facts["certificate"]:
            self._certificate = Certificate(**certificate | {"checked": tuple(certificate["checked"])})
        self.masks = masks
        return masks

    def finished(self, provenance: Mapping[str, Any]) -> Masks:
        """Masks of the last round, with its certificate and the number of its unscored weights in the provenance."""
        assert self.masks is not None
        counts = {name: int((silent & self.masks[name]).sum()) for name, silent in self._silent.items()}
        found = {"unscored": {name: count for name, count in counts.items() if count}}
        plain = {name: mask.contiguous() for name, mask in self.masks.items()}
        masks = Masks(plain, provenance={**provenance, **found})
        if self._certificate is not None:
            proof = replace(self._certificate, unscored=masks.unscored).to_dict()
            masks.provenance |= {"ablation": "invert", "certificate": proof}
        return masks


def _either(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {**some, **{name: some[name] | mask if name in some else mask for name, mask in others.items()}}

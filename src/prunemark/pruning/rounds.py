"""One round of pruning: quotas, selection and the certificate of an inverted choice."""

from collections.abc import Mapping

from torch import Tensor

from prunemark.ablations.certificates import certify_invert
from prunemark.masks import Masks
from prunemark.pruning.quotas import QuotaName
from prunemark.pruning.quotas import quotas as layer_quotas
from prunemark.pruning.selection import select_count


def select_round(
    scores: Mapping[str, Tensor],
    keep: int,
    *,
    within: Masks | None = None,
    invert: bool = False,
    quotas: QuotaName | Masks | None = None,
) -> Masks:
    """Keep the `keep` weights that rank first.

    Args:
        scores: finite, one tensor per prunable weight tensor, larger = keep.
        keep: how many weights to keep over all layers.
        within: only weights that these masks keep are ranked.
        invert: keep those that rank last. The choice is certified, in `provenance["certificate"]`.
        quotas: how many each layer keeps, as in `prunemark.pruning.prune`.

    Raises:
        ValueError: more weights asked for than survive, or quotas that cannot be met.
    """
    budget = None
    if quotas is not None:
        shapes = {name: tuple(layer.shape) for name, layer in scores.items()}
        caps = None if within is None else {count.name: count.kept for count in within.layers()}
        budget = layer_quotas(quotas, shapes, keep, caps=caps)
    chosen = select_count(scores, keep, within=within, invert=invert, quotas=budget)
    if invert:
        certificate = certify_invert(scores, chosen, within=within, per_layer=budget is not None)
        chosen.provenance |= {"ablation": "invert", "certificate": certificate.to_dict()}
    return chosen

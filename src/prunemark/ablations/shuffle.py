"""Shuffle: the same count in every layer, other weights."""

import warnings

import torch

from prunemark.ablations.certificates import certify_shuffle
from prunemark.masks import Masks
from prunemark.randomness import generator


class NoEffectWarning(UserWarning):
    """An operation changed nothing."""


def shuffle(masks: Masks, *, seed: int = 0) -> Masks:
    """Permute each layer's mask uniformly at random: the same count in every layer, other weights.

    The permutation of a layer depends only on the seed and the layer's name. The result carries a certificate
    in `provenance["certificate"]`; the provenance of masks that were inverted or shuffled already is kept whole in
    `provenance["before"]`.

    Raises:
        CertificateError: a count changed, or a mask did not (checked on the result itself).

    Warns:
        NoEffectWarning: no layer's mask could change: each is all kept or all pruned.

    Reference: Frankle et al. 2021 (arXiv 2009.08576), section 5.

    Examples:
        >>> shuffled = pm.shuffle(masks, seed=0)
        >>> [layer.kept for layer in shuffled.layers()] == [layer.kept for layer in masks.layers()]
        True
        >>> shuffled.provenance["certificate"]["ablation"]
        'shuffle'
    """
    shuffled: dict[str, torch.Tensor] = {}
    for name, mask in masks.items():
        order = torch.randperm(mask.numel(), generator=generator(seed, "shuffle", name))
        shuffled[name] = mask.flatten()[order.to(mask.device)].view_as(mask)
    before = {"before": masks.provenance} if "ablation" in masks.provenance else {}
    provenance = {**masks.provenance, **before, "ablation": "shuffle", "shuffle_seed": seed}
    result = Masks(shuffled, provenance=provenance)
    certificate = certify_shuffle(masks, result)
    if certificate.changed == 0:
        warnings.warn("shuffling changed no mask: every layer is all kept or all pruned", NoEffectWarning, 2)
    result.provenance["certificate"] = certificate.to_dict()
    return result

"""Shuffle, reinitialise, invert: what of a pruning decision matters, with certificates.

Inversion is an option of `prunemark.prune`, since in several rounds it changes what is scored.
"""

import warnings

import torch
from torch import nn

from prunemark.certificates import (
    Certificate,
    CertificateError,
    certify_invert,
    certify_reinit,
    certify_shuffle,
)
from prunemark.copies import independent_copy
from prunemark.isolation import isolated
from prunemark.masks import Masks
from prunemark.networks.own import Initializable
from prunemark.randomness import generator

__all__ = [
    "Certificate",
    "CertificateError",
    "Initializable",
    "NoEffectWarning",
    "certify_invert",
    "certify_reinit",
    "certify_shuffle",
    "reinitialize",
    "shuffle",
]


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


def reinitialize(model: nn.Module, *, seed: int) -> nn.Module:
    """A copy of the model whose whole state is drawn afresh from the same initialisation.

    A model with a method `initialize_(generator)`, as prunemark's own networks have, draws itself. Any other model
    is drawn by the `reset_parameters` of its modules, inner ones first, as their constructors do; a module's own
    comes after those of the modules in it. All randomness, NumPy's included, is drawn from the seed.

    A tensor that several modules share is drawn by the first of them.

    Raises:
        ValueError: a module has parameters of its own but neither method, so its distribution is not known; or
            the model cannot be copied.
        CertificateError: a prunable weight tensor came out as it was.
    """
    fresh = independent_copy(model)
    if isinstance(fresh, Initializable):
        fresh.initialize_(generator(seed, "reinit"))
    else:
        device = next(fresh.parameters(), torch.empty(0)).device
        with isolated(seed, "reinit", device=device), torch.no_grad():
            for name, module in reversed(list(fresh.named_modules())):
                _reset(name, module)
    certify_reinit(model, fresh)
    return fresh


def _reset(name: str, module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if reset is not None:
        reset()
    elif next(module.parameters(recurse=False), None) is not None:
        raise ValueError(
            f"{name or 'the model'} ({type(module).__name__}) has parameters but no reset_parameters(), so how it was "
            "initialised is not known; give the model a method initialize_(generator)"
        )

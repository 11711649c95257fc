"""Shuffle, reinitialise, invert: what of a pruning decision matters, with certificates.

Inversion is an option of `prunemark.prune`, since in several rounds it changes what is scored.
"""

from prunemark.ablations.certificates import (
    Certificate,
    CertificateError,
    certify_invert,
    certify_redraw,
    certify_reinit,
    certify_shuffle,
)
from prunemark.ablations.reinit import reinitialize
from prunemark.ablations.shuffle import NoEffectWarning, shuffle

__all__ = [
    "Certificate",
    "CertificateError",
    "NoEffectWarning",
    "certify_invert",
    "certify_redraw",
    "certify_reinit",
    "certify_shuffle",
    "reinitialize",
    "shuffle",
]

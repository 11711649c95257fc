"""Reinitialise: fresh weights from the same distribution."""

import torch
from torch import nn

from prunemark.ablations.certificates import certify_reinit
from prunemark.models.copies import independent_copy
from prunemark.models.initialization import Initializable
from prunemark.models.isolation import isolated
from prunemark.randomness import generator


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

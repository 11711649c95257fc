"""How a model draws its own parameters."""

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class Initializable(Protocol):
    """A model that can draw itself afresh from the distribution it was drawn from."""

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw every parameter anew and reset every buffer, in place."""
        ...

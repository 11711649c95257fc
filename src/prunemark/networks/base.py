"""Base class of the networks of this package: they know how their weights are drawn."""

import torch
from torch import nn

from prunemark.networks.initialisation import Initialisation


class Network(nn.Module):
    """A network that can draw all its parameters anew from its own initialisation distribution."""

    def __init__(self, initialisation: Initialisation) -> None:
        super().__init__()
        self.initialisation = initialisation

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the whole network anew, BatchNorm included, in place; no global random state is touched."""
        self.initialisation.draw_(self, generator)

"""PHEW: random walks that prefer large weights, over the graph of a network's units."""

from prunemark.methods.phew.phew import Phew

__all__ = ["Phew"]

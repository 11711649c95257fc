"""The compiled kernels, a package of their own, where they are installed."""

from importlib import import_module
from typing import Any

# The class of the compiled module: kernels/src/program.h describes it.
Program = Any


def available_kernels() -> list[str]:
    """Instruction sets for which this processor has kernels, the best last; empty without the package."""
    try:
        return list(import_module("prunemark_kernels").available_kernels())
    except ImportError:
        return []


def new_program(examples: int, kernels: str = "") -> Program:
    """A program without operations, for batches of at most that many examples.

    Args:
        examples: in the largest batch.
        kernels: an instruction set, one of `available_kernels`; the best by default.

    Raises:
        ImportError: the package prunemark-kernels is not installed.
    """
    return import_module("prunemark_kernels").Program(kernels, examples)

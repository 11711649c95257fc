"""The version, by itself, so that recording it imports nothing else."""

__version__ = "0.1.0"

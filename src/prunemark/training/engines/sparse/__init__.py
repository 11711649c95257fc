"""The sparse engine: steps at the cost of the kept weights, by C++ kernels where they are installed."""

from prunemark.training.engines.sparse.engine import PAYS_BELOW, SparseEngine, why_dense
from prunemark.training.engines.sparse.graph import UnsupportedError
from prunemark.training.engines.sparse.kernels import available_kernels
from prunemark.training.engines.sparse.trace import trace

__all__ = ["PAYS_BELOW", "SparseEngine", "UnsupportedError", "available_kernels", "trace", "why_dense"]

"""The stable columns of `judged.claims` and `judged.cells`."""

from dataclasses import dataclass

from prunemark.stats.predicates import State
from prunemark.stats.records import Record


@dataclass(frozen=True, kw_only=True)
class _Judgement(Record):
    """The columns that both have."""

    study: str
    network: str
    dataset: str
    claim: str
    range: str
    subject: str
    state: State
    difference: float
    low: float
    high: float
    replicates: int


@dataclass(frozen=True, kw_only=True)
class Row(_Judgement):
    """The columns of `judged.claims`."""

    sparsities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CellRow(_Judgement):
    """The columns of `judged.cells`."""

    sparsity: float

"""The stable columns of `judged.claims` and `judged.cells`."""

from dataclasses import dataclass

from prunemark.stats.predicates import State
from prunemark.stats.records import Record


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """The columns of `judged.claims`."""

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
    sparsities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CellRow(Record):
    """The columns of `judged.cells`."""

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
    sparsity: float

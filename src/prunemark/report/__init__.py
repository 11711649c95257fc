"""What a study found, for people: charts, terminal tables and one self-contained page. Imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunemark.report.page import write_report
    from prunemark.report.tables import claims_table, ranges_table, results_table

__all__ = ["claims_table", "ranges_table", "results_table", "write_report"]

_HOMES = {"claims_table": "tables", "ranges_table": "tables", "results_table": "tables", "write_report": "page"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

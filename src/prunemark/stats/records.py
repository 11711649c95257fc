"""Frozen records that turn into dictionaries and data frames with stable columns."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd

_DTYPES: dict[Any, str] = {
    bool: "bool",
    int: "int64",
    float: "float64",
    bool | None: "boolean",
    int | None: "Int64",
    float | None: "float64",
}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return list[Any](value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class Record:
    """A frozen dataclass whose fields are the columns of its table."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON: NaN becomes None and a tuple becomes a list."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def frame(cls, records: Iterable[Self]) -> "pd.DataFrame":
        """One row per record, one column per field, in the fields' order, also when there are no records.

        Optional integers and booleans have pandas' nullable types; a missing float is NaN.
        """
        import pandas as pd

        rows = [asdict(record) for record in records]
        columns = {
            field.name: pd.Series([row[field.name] for row in rows], dtype=_DTYPES.get(field.type, "object"))
            for field in fields(cls)
        }
        return pd.DataFrame(columns)

import json
import math
from dataclasses import dataclass, fields

import pandas as pd

from prunemark.stats import Ranges, judge
from prunemark.stats.records import Record
from prunemark.stats.rows import CellRow, Row


@dataclass(frozen=True, kw_only=True)
class Sample(Record):
    name: str
    value: float
    count: int | None
    holds: bool | None
    parts: tuple[float, ...]


def test_to_dict_is_ready_for_json() -> None:
    record = Sample(name="a", value=math.nan, count=None, holds=True, parts=(0.5,))
    expected = {"name": "a", "value": None, "count": None, "holds": True, "parts": [0.5]}
    assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == expected


def test_frame_keeps_types_where_values_are_missing() -> None:
    present = Sample(name="a", value=1.5, count=2, holds=False, parts=(0.5,))
    absent = Sample(name="b", value=math.nan, count=None, holds=None, parts=())
    frame = Sample.frame([present, absent])
    assert list(frame["count"].isna()) == [False, True]
    assert list(frame["holds"].isna()) == [False, True]
    assert frame["count"].iloc[0] == 2
    assert {name: str(frame[name].dtype) for name in ("value", "count", "holds")} == {
        "value": "float64",
        "count": "Int64",
        "holds": "boolean",
    }


def test_columns_and_types_do_not_depend_on_the_rows(study: pd.DataFrame) -> None:
    (subject,) = judge(study).subjects
    rows = [finding.row() for finding in subject.findings]
    cells = [cell.cell_row() for cell in subject.cells]
    for kind, records in ((Row, rows), (CellRow, cells), (Ranges, [subject.ranges])):
        full, empty = kind.frame(records), kind.frame([])
        assert len(full) == len(records) > 0
        assert list(full.columns) == list(empty.columns) == [field.name for field in fields(kind)]
        assert list(full.dtypes) == list(empty.dtypes)
        json.dumps([record.to_dict() for record in records], allow_nan=False)

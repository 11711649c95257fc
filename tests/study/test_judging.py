import pandas as pd
import pytest

import prunemark as pm
from tests.stats.tables import dense, rows, table

ACCURACIES = [90.0, 90.1, 89.9]


def test_a_table_without_rows_is_an_error_as_a_folder_without_results_is() -> None:
    with pytest.raises(ValueError, match="no rows to judge"):
        pm.judge(table(rows("snip", ACCURACIES)).head(0))


def test_one_study_of_a_table() -> None:
    parts = [*dense(ACCURACIES), *rows("snip", ACCURACIES), *rows("snip", ACCURACIES, study="other")]
    results = table(parts)
    assert [one.study for one in pm.judge(results).subjects] == ["demo", "other"]
    assert [one.study for one in pm.judge(results, study="other").subjects] == ["other"]
    for wrong in (results, results.drop(columns="study")):
        with pytest.raises(ValueError, match='unknown study "third"'):
            pm.judge(wrong, study="third")


def test_a_margin_that_is_no_number_is_an_error() -> None:
    results: pd.DataFrame = table(rows("snip", ACCURACIES))
    with pytest.raises(ValueError, match="margin must be a positive, finite number of percentage points, not '1'"):
        pm.judge(results, margin="1")  # pyright: ignore[reportArgumentType]

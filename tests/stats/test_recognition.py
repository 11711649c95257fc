from typing import Any

import pandas as pd
import pytest

from prunemark.stats import judge, ranges
from tests.stats.tables import dense, rows, table, trained

ACCURACIES = [90.0, 90.1, 89.9]
BASE = [*dense(ACCURACIES), *rows("random", ACCURACIES), *rows("snip", ACCURACIES), *trained(ACCURACIES)]


def changed(where: dict[str, str], **values: Any) -> pd.DataFrame:
    """The table with other values in the rows that have these."""
    results = table(BASE).astype(object)
    chosen = (results[list(where)] == pd.Series(where)).all(axis=1)
    assert chosen.any()
    for name, value in values.items():
        results.loc[chosen, name] = value
    return results


RANDOM, SNIP, DENSE = {"method": "random"}, {"method": "snip"}, {"method": "dense"}
MARK = {"benchmark": "magnitude-after-training"}


@pytest.mark.parametrize(
    ("where", "values", "message"),
    [
        (RANDOM, {"method": "Random"}, 'method "Random": did you mean "random"'),
        (RANDOM, {"method": " random"}, "begins or ends with a blank"),
        (DENSE, {"method": "DENSE", "prune_at": "0ep"}, 'did you mean "dense"'),
        (SNIP, {"method": None}, "rows without a method"),
        (SNIP, {"method": "Magnitude after training"}, 'write "magnitude-after-training" in the column benchmark'),
        (MARK, {"benchmark": "", "method": "imp"}, 'write "imp" in the column benchmark'),
        (MARK, {"benchmark": "magnitude_after_training"}, 'did you mean "magnitude-after-training"'),
        (MARK, {"method": "magnitude-after-training"}, 'has method "magnitude" and prune_at "end"'),
        (MARK, {"prune_at": "0ep"}, 'has method "magnitude" and prune_at "end"'),
        (DENSE, {"sparsity": 0.9}, "the dense network has sparsity 0 and no ablation, not 0.9 and unmodified"),
        (DENSE, {"ablation": "reinit"}, "not 0 and reinit"),
        (SNIP, {"sparsity": 0.899999976}, "sparsities 0.899999976 and 0.9 are nearly one"),
    ],
)
def test_rows_that_no_comparison_would_find_are_refused(
    where: dict[str, str], values: dict[str, Any], message: str
) -> None:
    results = changed(where, **values)
    for of in (judge, ranges):
        with pytest.raises(ValueError, match=rf"^results: .*{message}"):
            of(results)


def test_names_and_sparsities_of_ones_own_are_not() -> None:
    results = changed(MARK, benchmark="gradual pruning", prune_at="5ep")
    assert judge(results).subjects
    assert judge(pd.concat([results, table(rows("random, erk", ACCURACIES, sparsity=0.901))])).subjects


def test_labels_of_a_study_mean_what_it_says() -> None:
    assert judge(changed(SNIP, method="Random"), methods={"Random": "snip"}).subjects


def test_all_problems_at_once() -> None:
    results = pd.concat([changed(RANDOM, method="RANDOM"), table(rows("imp", ACCURACIES))])
    with pytest.raises(ValueError, match=r'"RANDOM".*; method "imp"'):
        judge(results)

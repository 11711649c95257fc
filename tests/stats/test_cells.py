import io
import math

import pandas as pd
import pytest

from prunemark.stats.cells import DENSE, Cell, benchmark_cell, experiments, rewound_to
from prunemark.terms.steps import Step
from tests.stats.tables import dense, rows, table, trained


def test_cells_hold_percent_by_replicate() -> None:
    (experiment,) = experiments(table(dense([98.0, 97.0]), rows("snip", [90.0, 91.0])))
    assert (experiment.study, experiment.network, experiment.dataset) == ("demo", "resnet-8", "digits")
    assert experiment.accuracies[DENSE] == pytest.approx({0: 98.0, 1: 97.0})
    snip = Cell(method="snip", sparsity=0.9, prune_at="0ep")
    assert experiment.accuracies[snip] == pytest.approx({0: 90.0, 1: 91.0})
    assert experiment.sparsities == [0.9]


def test_a_failed_run_is_missing_and_a_diverged_one_counts() -> None:
    parts = [*rows("snip", [math.nan], status="failed"), *rows("grasp", [10.0], status="diverged")]
    (experiment,) = experiments(table(parts))
    by_method = {cell.method: values[0] for cell, values in experiment.accuracies.items()}
    assert math.isnan(by_method["snip"])
    assert by_method["grasp"] == pytest.approx(10.0)


def test_studies_networks_and_data_sets_are_kept_apart() -> None:
    results = table(rows("snip", [90.0], study="b"), rows("snip", [80.0], study="a"))
    other = results.assign(network="vgg-16")
    found = experiments(pd.concat([results, other]))
    assert [(x.study, x.network) for x in found] == [
        ("a", "resnet-8"),
        ("a", "vgg-16"),
        ("b", "resnet-8"),
        ("b", "vgg-16"),
    ]


def test_a_table_that_has_been_through_csv_is_the_same_table(study: pd.DataFrame) -> None:
    text = study.to_csv(index=False)
    (before,), (after,) = experiments(study), experiments(pd.read_csv(io.StringIO(text)))
    assert before.accuracies.keys() == after.accuracies.keys()
    assert DENSE in after.accuracies
    assert benchmark_cell("lottery-rewinding", 0.99) in after.accuracies


def test_a_rounded_sparsity_is_the_same_sparsity() -> None:
    exact = 1 - 0.8**13
    parts = [*rows("snip", [90.0], sparsity=exact), *trained([95.0], sparsity=round(exact, 10))]
    (experiment,) = experiments(table(parts))
    assert experiment.sparsities == [round(exact, 9)]


@pytest.mark.parametrize(
    ("prune_at", "initial"),
    [("0ep", True), ("0it", True), ("1000it", False), ("0.5ep", False), ("end", False), ("", False)],
)
def test_initialisation(prune_at: str, initial: bool) -> None:
    assert Cell(method="snip", sparsity=0.9, prune_at=prune_at).initial is initial


def test_initialisation_has_two_spellings() -> None:
    (experiment,) = experiments(table(rows("snip", [9.0], prune_at="0it"), rows("snip", [9.0], prune_at="5ep")))
    later = Cell(method="snip", sparsity=0.9, prune_at="5ep")
    assert experiment.initial(later) == Cell(method="snip", sparsity=0.9, prune_at="0it")
    assert experiment.initial(Cell(method="snip", sparsity=0.8, prune_at="5ep")) is None


def test_a_step_is_the_same_however_it_is_written() -> None:
    assert rewound_to("imp-rewinding:2ep") == ("imp-rewinding", Step(2, "ep"))
    assert rewound_to("imp") == ("imp", None)
    names = ("lottery-rewinding:0it", "lottery-rewinding:2ep", "lottery-rewinding:2it")
    (experiment,) = experiments(table(*(trained([9.0], name) for name in names)))
    for at, name in (("0ep", names[0]), ("2.0ep", names[1]), ("2it", names[2])):
        found = experiment.rewound(Cell(method="snip", sparsity=0.9, prune_at=at))
        assert found == benchmark_cell(name, 0.9)
    assert experiment.rewound(Cell(method="snip", sparsity=0.9, prune_at="3ep")) is None
    assert experiment.rewound(Cell(method="snip", sparsity=0.8, prune_at="2ep")) is None
    assert experiment.rewound(Cell(method="snip", sparsity=0.9, prune_at="end")) is None


def test_no_rows_no_experiments() -> None:
    assert experiments(table()) == []


def test_missing_columns_are_all_named() -> None:
    results = table(rows("snip", [90.0])).drop(columns=["method", "replicate"])
    with pytest.raises(ValueError, match=r"^results: missing columns: method, replicate$"):
        experiments(results)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("status", "running", "status 'running' is none of done, diverged, failed"),
        ("ablation", "shuffled", "ablation 'shuffled' is none of unmodified, shuffle, reinit, invert, shuffle"),
        ("sparsity", 1.0, r"sparsity 1\.0 is outside \[0, 1\)"),
        ("sparsity", math.nan, r"sparsity nan is outside \[0, 1\)"),
        ("replicate", 0.5, r"replicate 0\.5 is not a whole number"),
        ("replicate", math.nan, "replicate nan is not a whole number"),
        ("prune_at", "1000", 'prune_at: a step is written like "1000it"'),
        ("benchmark", "lottery-rewinding:2", "benchmark 'lottery-rewinding:2': a step is written like \"1000it\""),
        ("test_accuracy", 90.0, r"test_accuracy 90\.0 of a run that is done is not a fraction in \[0, 1\]"),
        ("test_accuracy", math.nan, "test_accuracy nan of a run that is done"),
        ("test_accuracy", "high", "column test_accuracy does not hold numbers"),
        ("test_accuracy", 90.0, "1 of the accuracies lie between 1 and 100: if they are percentages, divide"),
        ("unscored", "some", "column unscored does not hold numbers"),
    ],
)
def test_wrong_values(column: str, value: object, message: str) -> None:
    results = table(rows("snip", [90.0])).astype(object)
    results.loc[0, column] = value
    with pytest.raises(ValueError, match=rf"^results: .*{message}"):
        experiments(results)


def test_seeds_that_a_float_cannot_hold_are_replicates_of_their_own() -> None:
    results = table(rows("snip", [90.0, 91.0]))
    results["replicate"] = [10**17, 10**17 + 1]
    (experiment,) = experiments(results)
    snip = Cell(method="snip", sparsity=0.9, prune_at="0ep")
    assert experiment.accuracies[snip] == pytest.approx({10**17: 90.0, 10**17 + 1: 91.0})


def test_what_is_no_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="results are a pandas DataFrame, one row per trial, not a list"):
        experiments([])  # pyright: ignore[reportArgumentType]


def test_two_rows_for_one_replicate() -> None:
    results = table(rows("snip", [90.0, 91.0]), rows("snip", [92.0]))
    expected = (
        "results: row 2: two rows for replicate 0 of demo/resnet-8/digits: "
        "method snip, sparsity 0.9, prune_at 0ep, ablation unmodified"
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared below
        experiments(results)
    assert str(caught.value) == expected


def test_all_problems_are_reported_at_once() -> None:
    results = table(rows("snip", [90.0, 91.0], status="lost"), rows("grasp", [1.0], sparsity=-0.1))
    with pytest.raises(ValueError, match=r"row 0: status 'lost' .*\(and 1 more such rows\); row 2: sparsity -0\.1"):
        experiments(results)


class TestTablesOfAnotherOrigin:
    def test_four_columns_are_enough(self) -> None:
        plain = pd.DataFrame(
            {
                "method": ["dense", "snip", "snip"],
                "sparsity": [0.0, 0.9, 0.9],
                "replicate": [0, 0, 1],
                "test_accuracy": [0.98, 0.9, math.nan],
            }
        )
        (experiment,) = experiments(plain)
        snip = Cell(method="snip", sparsity=0.9, prune_at="0ep")
        assert (experiment.study, experiment.network, experiment.dataset) == ("", "", "")
        assert list(experiment.accuracies) == [DENSE, snip]
        assert snip.initial
        # No accuracy and no status: a run that failed.
        assert math.isnan(experiment.accuracies[snip][1])
        assert experiment.trainings == {}

    def test_a_benchmark_is_pruned_at_the_end(self) -> None:
        results = table(trained([90.0])).drop(columns="prune_at")
        assert list(experiments(results)[0].accuracies) == [benchmark_cell("magnitude-after-training", 0.9)]


class TestTrainings:
    def test_rows_say_which_training_they_are(self) -> None:
        results = table(rows("snip", [90.0], job="a"), rows("grasp", [90.0], job="a"))
        snip, grasp = experiments(results)[0].trainings.values()
        assert snip == grasp == {0: "a, 0"}

    @pytest.mark.parametrize("keys", [["x", "x"], ["x", "y"]])
    def test_keys_that_stand_for_several_trainings_are_ignored(self, keys: list[str]) -> None:
        results = table(rows("snip", [90.0, 91.0])).assign(job_key=keys)
        assert bool(experiments(results)[0].trainings) is (keys == ["x", "y"])
        two = table(rows("snip", [90.0]), rows("grasp", [91.0])).assign(job_key=keys)
        assert bool(experiments(two)[0].trainings) is (keys == ["x", "y"])


def test_rows_whose_mask_was_chosen_by_position() -> None:
    results = table(rows("snip", [90.0, 91.0]), rows("grasp", [90.0]))
    assert experiments(results)[0].unscored == frozenset()
    marked = experiments(results.assign(unscored=[False, True, math.nan]))[0]
    assert marked.unscored == {Cell(method="snip", sparsity=0.9, prune_at="0ep")}

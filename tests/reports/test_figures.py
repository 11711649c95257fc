import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest

from prunemark.reports.figure import Figure, slug
from prunemark.reports.figures import figures, ranges_figure
from prunemark.stats import ranges
from tests.reports.conftest import make_layers, make_results


def by_name(**study: object) -> dict[str, Figure]:
    results = make_results(**study)  # pyright: ignore[reportArgumentType]
    found = figures(results, subject="resnet-20 on cifar-10", ranges=ranges(results)[0])
    return {figure.name: figure for figure in found}


def test_words_say_what_is_drawn_and_of_how_many() -> None:
    found = by_name(replicates=3)
    assert list(found) == ["accuracy", "ablations", "benchmark-ablations"]
    accuracy = found["accuracy"]
    assert "means over 3 replicates" in accuracy.caption
    assert "the 90 % interval of the mean, as in the verdicts" in accuracy.caption
    assert "no proof that nothing was lost" in found["ablations"].caption
    assert "at initialisation" in accuracy.caption
    assert "At 98 % sparsity: magnitude after training" in accuracy.description
    assert accuracy.spec["description"] == accuracy.description
    assert accuracy.spec["title"]["text"] == accuracy.title


def test_step_figure_where_the_study_sweeps_the_step() -> None:
    found = by_name(prune_at=("0ep", "1000it"), replicates=1, ablations=("unmodified",), sparsities=(0.8, 0.95))
    assert list(found) == ["accuracy", "pruning-step"]
    assert "at 80, 95 % sparsity" in found["pruning-step"].spec["title"]["subtitle"]


@pytest.mark.parametrize(
    "study",
    [
        {"sparsities": (0.9,), "replicates": 1, "methods": tuple(f"m{i}" for i in range(12)), "benchmarks": ()},
        {"prune_at": ("0ep", "1000it"), "replicates": 1, "ablations": ("unmodified",), "methods": ("snip",)},
    ],
    ids=["one sparsity, one replicate, twelve methods", "steps"],
)
def test_unusual_studies_can_be_drawn(study: dict[str, object], tmp_path: Path) -> None:
    for figure in by_name(**study).values():
        assert ElementTree.fromstring(figure.svg()).tag == "{http://www.w3.org/2000/svg}svg"


def test_every_experiment_has_its_figure() -> None:
    table = make_results(
        prune_at=("0ep", "2ep"),
        methods=("random", "snip", "snip:official", "graspabs"),
        benchmarks=("magnitude-after-training", "lottery-rewinding", "imp", "lottery-rewinding:2ep"),
        sparsities=(0.2, 0.8, 0.95),
    )
    found = {
        one.name: one
        for one in figures(table, subject="x", ranges=ranges(table)[0], layers=make_layers(), methods={}, prefix="p-")
    }
    assert [name.removeprefix("p-") for name in found] == [
        *("accuracy", "ablations", "benchmark-ablations", "pruning-step"),
        *("layer-density", "kept-inputs", "dead-units", "variants"),
    ]
    assert "The band is the matching range" in found["p-accuracy"].caption
    assert "takes the weights back to that step" in found["p-pruning-step"].caption
    density = found["p-layer-density"]
    assert "Not drawn twice, with the masks of another benchmark: lottery ticket rewinding." in density.caption
    assert "lottery ticket rewinding" not in str(density.spec["datasets"])
    assert "SNIP 80.0 %" in found["p-dead-units"].description
    for one in found.values():
        assert ElementTree.fromstring(one.svg()).tag == "{http://www.w3.org/2000/svg}svg"


def test_steps_are_shown_where_they_were_swept() -> None:
    swept = make_results(prune_at=("0ep", "2ep"), sparsities=(0.8,), ablations=("unmodified",))
    plain = make_results(sparsities=(0.2, 0.98), ablations=("unmodified",))
    both = pd.concat([swept, plain[plain.method != "dense"]], ignore_index=True)
    found = {one.name: one for one in figures(both, subject="x", ranges=None)}
    assert "at 80 % sparsity" in found["pruning-step"].spec["title"]["subtitle"]


def test_an_empty_table_of_layers_is_no_figure() -> None:
    found = figures(make_results(), subject="x", ranges=None, layers=make_layers().iloc[:0])
    assert [one.name for one in found] == ["accuracy", "ablations", "benchmark-ablations"]


def test_one_replicate_is_drawn_without_a_band() -> None:
    (accuracy, *_) = figures(make_results(replicates=1), subject="x", ranges=None)
    assert "band" not in accuracy.caption
    assert '"from"' not in json.dumps(accuracy.spec["datasets"])


def test_the_ranges_have_one_figure_for_all_subjects() -> None:
    (found,) = ranges(make_results())
    one = ranges_figure({"a": found, "b": found})
    assert one is not None
    assert "a. Of the sparsities run:" in one.description
    assert "Highest matching sparsity" in one.description
    assert ElementTree.fromstring(one.svg()).tag == "{http://www.w3.org/2000/svg}svg"
    assert ranges_figure({"a": ranges(make_results(replicates=2))[0]}) is None


def test_names_of_files_are_safe() -> None:
    assert slug("../Res Net/<18>") == "Res-Net-18"
    assert slug("///") == "unnamed"

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from prunemark.report.figures import Figure, figures, slug
from tests.report.conftest import make_results
from tests.report.test_charts import layer_counts


def by_name(**study: object) -> dict[str, Figure]:
    found = figures(make_results(**study), subject="resnet-20 on cifar-10", margin=0.5)  # pyright: ignore
    return {figure.name: figure for figure in found}


def test_words_say_what_is_drawn_and_of_how_many() -> None:
    found = by_name(replicates=3)
    assert list(found) == ["accuracy", "ablations", "benchmark-ablations"]
    accuracy = found["accuracy"]
    assert "means over 3 replicates" in accuracy.caption
    assert "worst replicate to the best" in accuracy.caption
    assert "at initialisation" in accuracy.caption
    assert "At 98 % sparsity: magnitude after training" in accuracy.description
    assert accuracy.spec["description"] == accuracy.description
    assert accuracy.spec["title"]["text"] == accuracy.title


def test_step_figure_where_the_study_sweeps_the_step() -> None:
    found = by_name(prune_at=("0ep", "1000it"), replicates=1, ablations=("unmodified",), sparsities=(0.8, 0.95))
    assert list(found) == ["accuracy", "pruning-step"]
    assert "at 95 % sparsity" in found["pruning-step"].spec["title"]["subtitle"]


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


def test_layer_densities_can_be_drawn() -> None:
    found = figures(
        make_results(replicates=1, ablations=("unmodified",)), subject="x", margin=0.5, layers=layer_counts()
    )
    svg = found[-1].svg()
    assert found[-1].name == "layer-density"
    assert ">stem<" in svg


def test_names_of_files_are_safe() -> None:
    assert slug("../Res Net/<18>") == "Res-Net-18"
    assert slug("///") == "unnamed"

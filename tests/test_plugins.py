"""Entries of other packages, by entry points: found without importing them, refused where a name is taken."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import prunemark as pm
from prunemark.datasets import DATASETS
from prunemark.methods import METHODS
from prunemark.networks import NETWORKS
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from prunemark.version import __version__
from tests.cli.test_cli import prunemark
from tests.study.conftest import TINY
from tests.thirdparty import Offer


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Offer]:
    """offer(name, ...): a package installed on the import path."""
    return lambda *args, **fields: Offer.install(tmp_path / "site", monkeypatch, *args, **fields)


def test_a_method_of_another_package_prunes(offer: Callable[..., Offer], convnet, batches) -> None:
    offer("wanda")
    assert "wanda" in METHODS
    assert next(iter(METHODS)) == "random"
    entry = METHODS["wanda"]
    assert (entry.rounds, str(entry.package)) == (2, "prunemark-wanda 1.2")
    masks = pm.prune(convnet, "wanda", sparsity=0.5, data=batches)
    assert masks.provenance["rounds"] == 2
    magnitude = pm.prune(convnet, "magnitude", sparsity=0.5, rounds=2)
    assert all(torch.equal(masks[name], magnitude[name]) for name in masks)


def test_names_are_known_without_importing_the_package(offer: Callable[..., Offer]) -> None:
    made = offer("wanda")
    code = (
        "import sys; from prunemark.methods import METHODS\n"
        "assert 'wanda' in METHODS and 'wanda' in list(METHODS) and 'prunemark_wanda' not in sys.modules\n"
        "METHODS['wanda']\n"
        "assert 'prunemark_wanda' in sys.modules and 'torch' not in sys.modules\n"
    )
    path = f"{made.site}:{':'.join(sys.path)}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


def test_networks_and_data_sets_of_another_package(offer: Callable[..., Offer]) -> None:
    offer("wanda")
    assert str(NETWORKS["one-layer"].package) == str(DATASETS["stripes"].package) == "prunemark-wanda 1.2"
    data = pm.dataset("stripes")
    model = pm.network("one-layer", input_shape=data.input_shape, classes=data.classes, seed=3)
    assert model(data.test.inputs).shape == (len(data.test), 2)


def test_a_name_that_is_taken_is_refused_with_both_packages(offer: Callable[..., Offer], tmp_path: Path) -> None:
    offer("rival", methods={"snip": "ENTRY"})
    message = f'the method "snip" is offered by prunemark {__version__} and by prunemark-rival 1.2: which one is meant'
    with pytest.raises(ValueError, match=message):
        METHODS["snip"]
    with pytest.raises(StudyError) as caught:
        Study(**TINY)
    assert [problem.partition(" is off")[0] for problem in caught.value.problems] == [
        'Study: methods[1]: the method "snip"'
    ]
    assert METHODS["grasp"].rounds == 1
    listed = prunemark("list", "methods", cwd=tmp_path)
    assert listed.returncode == 0
    assert "prunemark-rival" in listed.stdout
    assert METHODS.origin("snip") == f"prunemark {__version__} and prunemark-rival 1.2"


def test_two_other_packages_may_not_share_a_name(offer: Callable[..., Offer]) -> None:
    offer("one", methods={"mine": "ENTRY"})
    offer("two", methods={"mine": "ENTRY"})
    with pytest.raises(ValueError, match=r"prunemark-one 1\.2 and by prunemark-two 1\.2"):
        METHODS["mine"]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"odd": "METHOD"}, r'"odd" of prunemark-odd 1\.2 \(prunemark_odd:METHOD\) must be a MethodEntry, not type'),
        ({"odd": "NOTHING"}, r"\(prunemark_odd:NOTHING\) cannot be loaded: AttributeError: .*NOTHING"),
        ({"odd one": "ENTRY"}, "a name is made of letters, digits"),
        ({"odd": "LOST"}, "there is no module nowhere"),
    ],
)
def test_an_entry_that_is_none(offer: Callable[..., Offer], methods: dict[str, str], message: str) -> None:
    offer("odd", methods=methods)
    with pytest.raises(ValueError, match=message):
        METHODS[next(iter(methods))]


def test_a_method_that_is_no_class(offer: Callable[..., Offer]) -> None:
    offer("odd", methods={"odd": "FUNCTION"})
    with pytest.raises(
        ValueError, match=r"prunemark_odd\.code:stripes must be a class, such as a Method, not function"
    ):
        pm.methods.resolve("odd")


def test_a_method_that_is_called_as_other_rows_of_the_results_needs_a_label(offer: Callable[..., Offer]) -> None:
    offer("dense", methods={"dense": "ENTRY"})
    with pytest.raises(StudyError, match='label "dense" means something else in the results'):
        Study(**(TINY | {"methods": ["dense"]}))
    assert Study(**(TINY | {"methods": [{"name": "dense", "label": "theirs"}]})).methods[0].label == "theirs"


def test_the_list_says_where_names_come_from(offer: Callable[..., Offer], tmp_path: Path) -> None:
    offer("wanda")
    lines = prunemark("list", "methods", cwd=tmp_path).stdout
    assert "|w| in two rounds" in lines
    assert "prunemark-wanda 1.2" in " ".join(lines.split())
    assert prunemark("list", "networks", cwd=tmp_path).stdout.count("prunemark-wanda") == 1

import pytest

from prunemark.methods import METHODS
from prunemark.reports.families import families, variants
from prunemark.reports.theme import ITSELF


@pytest.mark.parametrize(
    ("labels", "methods", "found"),
    [
        (["snip", "grasp", "synflow"], None, {}),
        (["grasp:reversed", "snip", "graspabs"], None, {"grasp": ["grasp:reversed", "graspabs"]}),
        (["iter-snip", "snip:mil-ad"], None, {"snip": ["iter-snip", "snip:mil-ad"]}),
        (["1", "100"], {"1": "synflow", "100": "synflow"}, {"synflow": ["1", "100"]}),
        (["snip", "mine"], {"mine": "snip:official"}, {"snip": ["snip", "mine"]}),
        (["a", "b", "c"], {"a": "/x/m.py:f", "b": "/x/m.py:f", "c": "/x/m.py:g"}, {"m.py:f": ["a", "b"]}),
        (["snip", "snip"], None, {}),
        (["my snip", "snip"], {}, {}),
    ],
)  # fmt: skip
def test_families(labels: list[str], methods: dict[str, str] | None, found: dict[str, list[str]]) -> None:
    assert families(labels, methods) == found


def test_what_the_table_of_methods_holds() -> None:
    assert families(METHODS) == {
        "snip": ["snip", "snip:mil-ad", "snip:official", "snip:synaptic-flow", "iter-snip"],
        "grasp": ["grasp", "grasp:halves", "grasp:open-lth", "grasp:reversed", "graspabs"],
        "synflow": ["synflow", "synflow:synaptic-flow"],
    }


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (
            "snip",
            {"snip": ITSELF, "snip, 10 rounds": "10 rounds", "snip:official": "official", "iter-snip": "iter-snip"},
        ),
        ("grasp", {"grasp:reversed": "reversed", "graspabs": "graspabs", "grasping, slowly": "grasping, slowly"}),
        ("snip", {"snip, official": "snip, official", "snip:official": "snip:official", "snip": ITSELF}),
        ("snip", {"snip, 10 rounds": "snip, 10 rounds", "10 rounds": "10 rounds"}),
        ("m.py:f", {"mine": "mine", "m.py:f": ITSELF}),
    ],
)
def test_variants_within_their_family(family: str, names: dict[str, str]) -> None:
    assert variants(family, names) == names

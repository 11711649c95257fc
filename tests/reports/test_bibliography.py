import re
from pathlib import Path

import yaml

from prunemark.methods import METHODS
from prunemark.reports.bibliography import BASELINE, SOURCES, citations, software


def keys(entries: list[str]) -> list[str]:
    return [entry[entry.index("{") + 1 : entry.index(",")] for entry in entries]


def test_every_source_of_a_method_is_a_paper_that_is_known_or_a_repository() -> None:
    sources = {entry.source for entry in METHODS.values()} - {BASELINE}
    assert all(source in SOURCES or re.fullmatch(r"[\w.-]+/[\w.-]+", source) for source in sources)
    assert set(SOURCES) <= sources
    for entry in citations(METHODS):
        assert entry.count("{") == entry.count("}")


def test_a_study_cites_its_paper_each_method_once_and_the_software() -> None:
    found = keys(citations(["random", "snip", "snip:official", "graspabs", "own.py:mine"]))
    assert found == ["frankle2021pruning", "lee2019snip", "namhoonlee-snip-public", "wang2020picking", "prunemark"]


def test_the_software_is_cited_as_in_its_citation_file() -> None:
    cff = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
    (author,) = cff["authors"]
    for text in (cff["title"], cff["version"], author["name"], cff["license"]):
        assert text in software()

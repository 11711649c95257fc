"""The examples under the public names run, and show what they say that they show."""

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest

import prunemark as pm
from prunemark.registry import Entry
from prunemark.study.executors import EXECUTORS
from tests.test_docs import BLOCK, ROOT

# `results` and `report` read the folder that the example of `run` writes.
FIRST = ("run", "results", "report")
OTHERS = {"methods"}  # a module


def _names() -> list[str]:
    warnings = {name for name in pm.__all__ if inspect.isclass(one := getattr(pm, name)) and issubclass(one, Exception)}
    return [*FIRST, *sorted(set(pm.__all__) - warnings - OTHERS - set(FIRST))]


def _given() -> dict[str, Any]:
    """What docs/api.md says that its examples take as given."""
    names: dict[str, Any] = {}
    block = BLOCK.search((ROOT / "docs/api.md").read_text())
    assert block is not None
    exec(compile(block["code"], "docs/api.md", "exec"), names)
    return names


def test_every_public_name_has_an_example_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTORS, "local", Entry(target="tests.study.inline:InlineExecutor", summary="for tests"))
    # Drawing takes five seconds, and tests/reports draws.
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda *_, **__: "<svg/>")
    monkeypatch.setattr("vl_convert.svg_to_png", lambda *_, **__: b"")
    monkeypatch.setattr("vl_convert.svg_to_pdf", lambda *_, **__: b"")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    finder, problems = doctest.DocTestFinder(recurse=False), list[str]()
    for name in _names():
        (found,) = finder.find(getattr(pm, name), name, globs=_given())
        if not found.examples:
            problems.append(f"{name} has no example\n")
        doctest.DocTestRunner().run(found, out=problems.append)
    assert not problems, "".join(problems)

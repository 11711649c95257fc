"""Imports of a user's file are part of its digest, and are loaded from those very files."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prunemark.own_code import OwnCode, require_covered
from prunemark.own_code.imports import own_modules


@pytest.fixture(autouse=True)
def modules_of_the_test_only() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.path[:] = path


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    return folder / "mine.py"


def test_modules_are_found_through_others_in_packages_and_in_functions(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        mine="import numpy, os, first\ndef f():\n    from pack.deep import thing\n    __import__('called')\n",
        first="import json\nfrom second import *\n",
        second="import mine\nimport not_there\n",
        called="import importlib; importlib.import_module('named')",
        named="",
        unrelated="",
    )
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("from . import sibling")
    (tmp_path / "pack" / "sibling.py").write_text("from .deep import other")
    (tmp_path / "pack" / "deep").mkdir()
    (tmp_path / "pack" / "deep" / "__init__.py").write_text("thing = 1")
    (tmp_path / "pack" / "deep" / "other.py").write_text("from .. import sibling")
    (tmp_path / "pack" / "deep" / "never.py").write_text("")
    names = ["called", "first", "named", "pack", "pack.deep", "pack.deep.other", "pack.sibling", "second"]
    assert list(own_modules(file)) == names


def test_a_package_installed_in_place_counts_and_one_in_an_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in (("src", "in_place"), (".venv/lib/python3/site-packages", "installed")):
        folder = tmp_path / place / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(str(folder.parent))
    file = write(tmp_path, mine="import in_place, installed")
    assert own_modules(file) == {"in_place": tmp_path / "src" / "in_place" / "__init__.py"}


def test_the_digest_of_a_single_file_is_that_of_its_content(tmp_path: Path) -> None:
    import hashlib

    file = write(tmp_path, mine="import os, torch\ndef f(): pass\n")
    assert OwnCode.find(f"{file}:f").digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_digest_covers_what_is_imported_and_what_is_declared(tmp_path: Path) -> None:
    file = write(tmp_path, mine="import helper\ndef f(): return helper.value\n", helper="value = 1\n")
    table = tmp_path / "tables"
    (table / "deep").mkdir(parents=True)
    (table / "deep" / "a.json").write_text("1")

    def digest(*depends_on: Path) -> str:
        return OwnCode.find(f"{file}:f", depends_on).digest

    plain, declared = digest(), digest(table)
    assert plain != declared
    (table / "deep" / "a.json").write_text("2")
    assert digest() == plain
    assert declared != digest(table)
    write(tmp_path, helper="value = 2\n")
    assert digest() != plain
    with pytest.raises(ValueError, match=r"depends_on: there is no file or folder .*gone"):
        digest(tmp_path / "gone")


def test_a_neighbour_is_loaded_as_it_is_now(tmp_path: Path) -> None:
    file = write(
        tmp_path, mine="import helper\ndef f(): return helper.value\n", helper="import lower\nvalue = lower.x\n"
    )
    for value in (1, 2, 3):  # of one length, within one second: cached bytecode would not tell them apart
        write(tmp_path, lower=f"x = {value}\n")
        assert OwnCode.find(f"{file}:f").load()() == value


def test_a_neighbour_whose_name_is_taken_is_an_error(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder, mine="import helper_of_two\ndef f(): pass\n", helper_of_two="")
    OwnCode.find(f"{tmp_path}/a/mine.py:f").load()
    with pytest.raises(
        ValueError, match=r"b/helper_of_two\.py cannot be imported as helper_of_two: that is .*a/helper"
    ):
        OwnCode.find(f"{tmp_path}/b/mine.py:f").load()


def test_a_module_under_a_computed_name_must_be_declared(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        mine="import importlib\ndef f(): return importlib.import_module('comp' + 'uted').x\n",
        computed="x = 5\n",
    )
    before = set(sys.modules)
    assert OwnCode.find(f"{file}:f").load()() == 5
    with pytest.raises(ValueError, match=r'mine\.py imports modules .*: add depends_on = \["computed\.py"\]'):
        require_covered([OwnCode.find(f"{file}:f")], before)
    require_covered([OwnCode.find(f"{file}:f", [tmp_path / "computed.py"])], before)
    require_covered([OwnCode.find(f"{file}:f", [tmp_path])], before)

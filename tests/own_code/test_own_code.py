"""A user's own file: recognised, checked without running, hashed, loaded, explained."""

import sys
from pathlib import Path

import pytest

from prunemark.own_code import OwnCode, anchored, explain, explained, is_own_code, short_name


@pytest.mark.parametrize(
    ("name", "is_one"), [("a/b.py:f", True), ("snip:mil-ad", False), ("b.py", False), ("x.py:", False)]
)
def test_names_of_own_code_are_told_from_names_of_tables(name: str, is_one: bool, tmp_path: Path) -> None:
    assert is_own_code(name) is is_one
    assert anchored(name, tmp_path) == (f"{tmp_path}/{name}" if is_one else name)
    assert short_name(name) == name.removeprefix("a/")


def test_it_is_found_checked_and_hashed_without_being_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise RuntimeError('ran')\ndef f(): pass\n")
    code = OwnCode.find(f"{file}:f").check()
    assert (code.path, code.attribute, code.reference) == (file, "f", f"{file}:f")
    with pytest.raises(ValueError, match='unknown name "g"; known: f'):
        OwnCode.find(f"{file}:g").check()
    file.write_text("raise RuntimeError('ran')\ndef f( pass\n")
    changed = OwnCode.find(f"{file}:f")
    assert changed.digest != code.digest
    with pytest.raises(ValueError, match=r"mine\.py is not valid Python"):
        changed.check()
    with pytest.raises(ValueError, match="there is no file"):
        OwnCode.find("other.py:f")


def test_it_is_loaded_once_per_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class A: pass\n")
    first = OwnCode.find(f"{file}:A").load()
    assert OwnCode.find(f"{file}:A").load() is first
    assert getattr(sys.modules[first.__module__], "A") is first, "as pickle and dataclasses need it"  # noqa: B009
    file.write_text("class A: number = 2\n")
    assert OwnCode.find(f"{file}:A").load().number == 2


def test_a_dataclass_with_postponed_annotations_loads(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Mine:\n    rounds: int = 3\n"
    )
    assert OwnCode.find(f"{tmp_path}/mine.py:Mine").load()().rounds == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", r"importing .*mine\.py failed: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", r"importing .*mine\.py failed: sys\.exit\(0\) ends the program"),
        ("x = 3\ndef f(): pass", r'"mine\.py:x" cannot be called: it is of type int'),
        ("def f(): pass", r'"mine\.py:x": unknown attribute "x"; known: f$'),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ValueError, match=reason):
        OwnCode.find(f"{tmp_path}/mine.py:x").load()


def test_a_failure_names_the_line_of_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def f():\n    return {}['zz']\n\n\ndef g():\n    raise ValueError('a\\nb')\n"
        "\n\ndef h():\n    raise SystemExit(0)\n"
    )
    messages: list[str] = []
    for attribute in ("f", "g", "h"):
        reference = f"{tmp_path}/mine.py:{attribute}"
        with pytest.raises(ValueError, match="mine") as caught, explained(reference):
            OwnCode.find(reference).load()()
        messages.append(str(caught.value).replace(f"{tmp_path}/", ""))
    assert messages == [
        "mine.py:f failed in line 2: KeyError: 'zz'",
        "mine.py:g failed in line 6: ValueError: a b",
        "mine.py:h ended the program in line 10: sys.exit(0)",
    ]
    assert explain("mine.py:f", ValueError("scores must name each weight")) == "scores must name each weight"


def test_errors_of_what_is_no_own_code_are_passed_on() -> None:
    with pytest.raises(KeyError), explained("snip"):
        raise KeyError("a")

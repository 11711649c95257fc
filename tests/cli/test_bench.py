"""`prunemark bench`: what it prints of what was measured."""

import json
import sys

import pytest

from prunemark.cli import main
from prunemark.speed import comparisons, timing
from prunemark.speed.timing import Comparison, Measured


@pytest.fixture
def two_comparisons(monkeypatch):
    """Two comparisons whose times are given, as measuring takes a minute."""
    times = {"a dense step": (2.0, 3.0, 1.5), "a sparse step at 90%": (1.0, 6.0, 6.0)}
    made = [Comparison(what=what, rival="a loop", ours=int, theirs=int) for what in times]
    monkeypatch.setattr(comparisons, "comparisons", lambda: iter(made))

    def given(comparison, *, rounds):
        assert rounds == 2
        ours, theirs, ratio = times[comparison.what]
        return Measured(what=comparison.what, rival=comparison.rival, ours_ms=ours, rival_ms=theirs, ratio=ratio)

    monkeypatch.setattr(timing, "measure", given)


def output(monkeypatch, capsys, *arguments) -> str:
    monkeypatch.setattr(sys, "argv", ["prunemark", "bench", "--rounds", "2", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_a_table_and_a_chart_that_are_plain_when_piped(two_comparisons, monkeypatch, capsys):
    lines = output(monkeypatch, capsys).splitlines()
    assert all(len(line) <= 80 and "\x1b" not in line for line in lines)
    assert "one thread" in lines[0]
    assert "a sparse step at 90%       1.00       6.00  a loop" in lines
    assert lines[-2:] == [f"a dense step           1.50 {8 * '█'}", f"a sparse step at 90%   6.00 {30 * '█'}"]


def test_the_numbers_as_json(two_comparisons, monkeypatch, capsys):
    found = json.loads(output(monkeypatch, capsys, "--json"))
    assert found["machine"]["threads"] == 1
    assert [each["ratio"] for each in found["comparisons"]] == [1.5, 6.0]
    assert found["comparisons"][0]["what"] == "a dense step"

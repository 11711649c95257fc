from typing import Any

import pytest

from prunemark.reports.line_ends import ROOM, line_ends, linear, symlog


def ends_at(*means: float) -> list[dict[str, Any]]:
    return [{"line": f"m{i}", "remaining": r, "mean": m} for i, m in enumerate(means) for r in (50.0, 10.0)]


def test_names_stand_at_the_ends_of_their_lines_from_the_top() -> None:
    found = line_ends(ends_at(80, 95), linear((75, 100)), height=400) or []
    assert [(one.line, one.at, one.below) for one in found] == [
        ("m1", pytest.approx(80), False),
        ("m0", pytest.approx(320), False),
    ]


def test_names_that_would_overlap_move_apart_by_as_little_as_possible() -> None:
    found = line_ends(ends_at(90, 90, 80), linear((75, 100)), height=400) or []
    assert [one.at for one in found] == pytest.approx([160 - ROOM / 2, 160 + ROOM / 2, 320])


def test_many_names_in_one_place_need_a_legend() -> None:
    assert line_ends(ends_at(*[90] * 5), linear((75, 100)), height=400) is None


def test_a_line_that_ends_early_needs_a_legend() -> None:
    assert line_ends([*ends_at(90), {"line": "x", "remaining": 50.0, "mean": 80}], linear((0, 100)), height=400) is None


def test_what_leaves_the_plot_is_named_at_its_foot() -> None:
    one, two = line_ends(ends_at(90, 10), linear((75, 100)), height=400) or []
    assert (two.line, two.at, two.below) == ("m1", 400, True)
    assert not one.below
    three, four = line_ends(ends_at(10, 20), linear((75, 100)), height=400) or []
    assert (three.at, four.at) == (400 - ROOM, 400)


def test_places_on_a_symlog_axis() -> None:
    place = symlog((-8, 2), 0.5)
    assert [place(2), place(-8)] == pytest.approx([0, 1])
    assert place(-2) - place(0) == pytest.approx(place(0) - place(2))

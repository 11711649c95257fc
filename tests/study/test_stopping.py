import json
from collections.abc import Callable
from typing import Any

import pytest

from prunemark.study.lock import StoreError
from prunemark.study.spec import Study
from prunemark.study.stopping import Stopping, require_same_looks
from prunemark.terms.looks import Looks

Tiny = Callable[..., Study]


def stopping(**changes: Any) -> Stopping:
    """At the second of five looks, with everything settled."""
    fields: dict[str, Any] = {"looks": Looks(), "replicates": 5, "finished": True, "failed": False}
    return Stopping(**(fields | {"settled": 9, "total": 9, "trainings": 50} | changes))


@pytest.mark.parametrize(
    ("changes", "stops", "words"),
    [
        ({}, True, "stopped at look 2 of 5, every question settled; 150 trainings saved"),
        ({"settled": 8}, False, "look 2 of 5 left 1 of 9 questions open; the next is at 8 replicates"),
        ({"finished": False}, False, "look 2 of 5 is not complete"),
        ({"settled": 0, "total": 0}, True, "stopped at look 2 of 5, no question can be tested; 150 trainings saved"),
        ({"settled": 8, "failed": True}, True, "stopped at look 2 of 5, every run failed"),
        ({"replicates": 20}, True, "ended at the last look, 5 of 5, every question settled"),
        ({"replicates": 20, "settled": 7}, True, "ended at the last look, 5 of 5, 2 of 9 questions open"),
        ({"looks": Looks(until="cells")}, True, "stopped at look 2 of 5, every cell settled; 150 trainings saved"),
    ],
)
def test_when_a_study_ends_and_what_is_said_of_it(changes: dict[str, Any], stops: bool, words: str) -> None:
    found = stopping(**changes)
    assert (found.stops, found.words) == (stops, words)


@pytest.mark.parametrize(
    ("before", "after"),
    [({"max": 20}, {"max": 32}), ({"max": 20}, {"min": 5}), ({"max": 8}, 5), (5, {"max": 8}), ({"max": 8}, 8)],
)
def test_a_folder_refuses_other_looks(tiny: Tiny, before: Any, after: Any) -> None:
    stored = json.loads(tiny(replicates=before).model_dump_json())
    with pytest.raises(StoreError, match=r"^out holds tiny with .* another name.* or use another folder$") as caught:
        require_same_looks(stored, tiny(replicates=after), "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [({"max": 20}, {"min": 3, "until": "cells"}), (3, 5), (5, 3), ({"min": 4, "max": 4}, 4), (2, {"max": 8})],
)
def test_what_changes_no_level_is_allowed(tiny: Tiny, before: Any, after: Any) -> None:
    require_same_looks(json.loads(tiny(replicates=before).model_dump_json()), tiny(replicates=after), "out")
    require_same_looks(None, tiny(replicates=after), "out")

import pytest

from prunemark.registry import Entry, find, unknown

TABLE = {"snip": Entry(target="math:sqrt", summary="a"), "grasp": Entry(target="math:exp", summary="b")}


def test_an_entry_loads_its_target():
    assert find(TABLE, "method", "snip").load()(9) == 3


def test_an_unknown_name_is_answered_with_what_is_known():
    with pytest.raises(ValueError, match='unknown method "snipp"; known: grasp, snip; did you mean "snip"') as error:
        find(TABLE, "method", "snipp")
    assert str(error.value).endswith("?")
    assert "did you mean" not in unknown("method", "zzz", TABLE)


def test_of_many_names_the_nearest_are_listed() -> None:
    names = [f"paper/e{i}-network" for i in range(50)]
    message = unknown("study", "paper/e7-netwrk", names)
    assert message.startswith('unknown study "paper/e7-netwrk"; known: paper/e7-network, ')
    assert message.endswith(' and 45 more; did you mean "paper/e7-network"?')
    assert len(message) < 250

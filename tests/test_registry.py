import pytest

from prunemark.registry import Entry, failure, find, is_file_reference, load_file, unknown

TABLE = {"snip": Entry(target="math:sqrt", summary="a"), "grasp": Entry(target="math:exp", summary="b")}


def test_an_entry_loads_its_target():
    assert find(TABLE, "method", "snip").load()(9) == 3


def test_an_unknown_name_is_answered_with_what_is_known():
    with pytest.raises(ValueError, match='unknown method "snipp"; known: grasp, snip; did you mean "snip"') as error:
        find(TABLE, "method", "snipp")
    assert str(error.value).endswith("?")
    assert "did you mean" not in unknown("method", "zzz", TABLE)


@pytest.mark.parametrize(
    ("name", "is_one"), [("a/b.py:f", True), ("snip:mil-ad", False), ("b.py", False), ("x.py:", False)]
)
def test_file_references(name, is_one):
    assert is_file_reference(name) is is_one


def test_load_file(tmp_path):
    (tmp_path / "mine.py").write_text("def f():\n    return 7\n")
    assert load_file("mine.py:f", tmp_path)() == 7
    with pytest.raises(ValueError, match='unknown attribute "g"; known: f'):
        load_file("mine.py:g", tmp_path)
    with pytest.raises(ValueError, match="there is no file"):
        load_file("other.py:f", tmp_path)


def test_a_file_that_fails_to_import_says_why(tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match="ZeroDivisionError: division by zero"):
        load_file("bad.py:f", tmp_path)


def test_what_cannot_be_called_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("x = 3\ndef f():\n    pass\n")
    with pytest.raises(ValueError, match=r'"mine\.py:x" cannot be called: it is of type int'):
        load_file("mine.py:x", tmp_path)
    with pytest.raises(ValueError, match=r'unknown attribute "g"; known: f$'):
        load_file("mine.py:g", tmp_path)


def test_a_failure_names_the_line_of_the_users_file(tmp_path):
    (tmp_path / "mine.py").write_text("def f():\n    return {}['zz']\n\n\ndef g():\n    raise ValueError('a\\nb')\n")
    messages = []
    for attribute in ("f", "g"):
        reference = f"{tmp_path}/mine.py:{attribute}"
        try:
            load_file(reference)()
        except Exception as error:
            messages.append(failure(reference, error).replace(f"{tmp_path}/", ""))
    assert messages == ["mine.py:f failed in line 2: KeyError: 'zz'", "mine.py:g failed in line 6: ValueError: a b"]
    assert failure("mine.py:f", ValueError("scores must name each weight")) == "scores must name each weight"


def test_of_many_names_the_nearest_are_listed() -> None:
    names = [f"paper/e{i}-network" for i in range(50)]
    message = unknown("study", "paper/e7-netwrk", names)
    assert message.startswith('unknown study "paper/e7-netwrk"; known: paper/e7-network, ')
    assert message.endswith(' and 45 more; did you mean "paper/e7-network"?')
    assert len(message) < 250

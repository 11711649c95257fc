from pathlib import Path

import pytest

from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from tests.study.conftest import FILE


def test_a_syntax_error_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\nnetwork = \n')
    with pytest.raises(StudyError, match=r"x.toml: not valid TOML: .*line 2"):
        Study.load(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none.toml: the study cannot be read: No such file"):
        Study.load(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="it is not UTF-8 text"):
        Study.load(tmp_path / "x.toml")


def test_unknown_names_say_what_was_probably_meant() -> None:
    with pytest.raises(StudyError, match=r'unknown study "quikstart".*did you mean "quickstart"'):
        Study.load("quikstart")
    with pytest.raises(StudyError, match=r'unknown study "paper/e1-resnet20".*did you mean "paper/e1-resnet-20"'):
        Study.load("paper/e1-resnet20")


def test_an_experiment_alone_is_no_study() -> None:
    with pytest.raises(StudyError, match=r'^"e4" is an experiment; name its setting too, as in "laptop/e4-digits"'):
        Study.load("e4")


def test_file_references_start_at_the_study_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import math\nclass Net: ...\ndef score(problem):\n    return {}\n")
    path = tmp_path / "x.toml"
    path.write_text(FILE.replace('["snip"]', '["mine.py:score", {name = "mine.py:score", label = "two"}]'))
    study = Study.load(path)
    assert study.methods[0].name == f"{tmp_path / 'mine.py'}:score"
    assert [method.label for method in study.methods] == ["score", "two"]
    assert Study(**study.model_dump()) == study


@pytest.mark.parametrize(
    ("reference", "content", "expected"),
    [
        ("none.py:score", "", "there is no file"),
        ("mine.py:scor", "def score(problem): ...", 'unknown name "scor"; known: score; did you mean "score"?'),
        ("mine.py:score", "def score(:", "is not valid Python"),
    ],
)
def test_file_references_are_checked_without_running_them(
    tmp_path: Path, reference: str, content: str, expected: str
) -> None:
    (tmp_path / "mine.py").write_text(f"raise SystemExit\n{content}\n" if content else "")
    path = tmp_path / "x.toml"
    path.write_text(FILE.replace("snip", reference).replace("lenet-300-100", "none.py:build"))
    with pytest.raises(StudyError) as caught:
        Study.load(path)
    network, method = caught.value.problems
    assert "network: " in network
    assert "there is no file" in network
    assert "methods[0]: " in method
    assert expected in method


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_study_extends_another_and_replaces_the_fields_that_it_gives(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "def score(problem): ...\n")
    text = FILE.replace("snip", "mine.py:score") + 'description = "of the base"\n[recipe]\nepochs = 3\nlr = 0.2\n'
    write(tmp_path / "base.toml", text)
    path = write(tmp_path / "deeper" / "x.toml", 'extends = "../base.toml"\nname = "x"\nrecipe = { epochs = 5 }\n')
    study = Study.load(path)
    assert (study.name, study.description, study.sparsities) == ("x", "", (0.5,))
    assert study.recipe == {"epochs": 5}, "a field is replaced whole"
    assert study.methods[0].name == f"{tmp_path / 'deeper' / '..' / 'mine.py'}:score" or study.methods[0].name == (
        f"{tmp_path / 'mine.py'}:score"
    )


@pytest.mark.parametrize("name", ["quickstart", "laptop/digits", "paper/e4-vgg-16", "laptop/later-digits"])
def test_a_file_of_yours_extends_a_shipped_study(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.toml", f'extends = "{name}"\nname = "x"\nreplicates = 7\n')
    base = Study.load(name)
    assert Study.load(path) == base.model_copy(update={"name": "x", "description": "", "replicates": 7})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('extends = "quikstart"', r'x.toml: extends: unknown study "quikstart".*did you mean "quickstart"'),
        ('extends = "none.toml"', r"x.toml: extends: .*none.toml: the study cannot be read: No such file"),
        ("extends = 3", r"x.toml: extends: must be the name or the file of a study, not 3"),
        ('extends = "x.toml"', r"x.toml: extends: .*x.toml: extends: circular reference: .*x.toml -> .*x.toml"),
        ('extends = "quickstart"', r"x.toml: name: is missing"),
        ('extends = "quickstart"\nname = "x"\nsparsities = [2.0]', r"x.toml: sparsities\[0\]: sparsity is the pruned"),
    ],
)
def test_what_is_wrong_with_extending_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(StudyError, match=expected) as caught:
        Study.load(write(tmp_path / "x.toml", text))
    assert len(caught.value.problems) == 1

"""What `check` puts a method through, and how its answers are told."""

import json as json_format
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rich.console import Console

    from prunemark.study.exports import Format
    from prunemark.study.judging import JudgedStudy
    from prunemark.study.spec import Study

# Given by `check` itself.
_CHECKS_OWN = ("name", "description", "methods")


def battery(
    method: str,
    study: str,
    against: str | None,
    sparsities: str | None,
    replicates: int | None,
    format: str | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
) -> "tuple[Study, str, list[str]]":
    """The study of a method of the user's.

    Args:
        method: "FILE.py:METHOD".
        study: whose battery to run.
        against: names of methods to compare it with, separated by commas.
        sparsities: likewise, in place of the study's.
        replicates: in place of the study's.
        format: of a table of the answers.
        changes: of the study's fields, dotted path -> value.

    Returns:
        The study, the method's label in it, and the labels of those that it is compared with.

    Raises:
        StudyError: something of it is wrong; all of it.
    """
    from prunemark.methods import METHODS
    from prunemark.own_code import is_own_code
    from prunemark.registry import unknown
    from prunemark.study.exports import FORMATS
    from prunemark.study.problems import StudyError
    from prunemark.study.spec import Study

    problems: list[str] = []
    if not is_own_code(method):
        problems.append(f'"{method}" is not of the form FILE.py:METHOD; built-in methods run in a study: prunemark run')
    names = _items(against)
    problems += [f"--against: {unknown('method', name, METHODS)}" for name in names if name not in METHODS]
    fractions, wrong = _fractions(sparsities)
    problems += wrong
    if replicates is not None and replicates < 1:
        problems.append(f"--replicates: must be at least 1, not {replicates}")
    if format is not None and format not in FORMATS:
        problems.append(f"--format: {unknown('format', format, FORMATS)}")
    fixed = [name for name in _CHECKS_OWN if name in {path.partition(".")[0] for path in changes or ()}]
    if fixed:
        problems.append(f"--set {', '.join(fixed)}: check gives its study name and methods itself")
    try:
        base = Study.load(study, set=None if fixed else changes)
    except StudyError as error:
        raise StudyError([*problems, *error.problems]) from None
    if problems:
        raise StudyError(problems)
    function = method.rpartition(":")[2]
    label = f"my-{function}" if function in METHODS else function
    fields: dict[str, Any] = {"sparsities": fractions} if sparsities is not None else {}
    fields |= {"replicates": replicates} if replicates is not None else {}
    methods = ["random", {"name": method, "label": label}, *(name for name in dict.fromkeys(names) if name != "random")]
    try:
        checked = base.remade(name=f"check-{label}", description="", methods=methods, **fields)
    except StudyError as error:
        raise StudyError(problem.replace("Study:", f"{study}:") for problem in error.problems) from None
    return checked, label, [name for name in dict.fromkeys(names) if name != "random"]


def tell_answers(
    console: "Console",
    judged: "JudgedStudy",
    folder: Path,
    method: str,
    rivals: list[str],
    format: str | None,
    *,
    json: bool,
) -> None:
    """Print what the results say of a method and, in a format, write a table of the answers."""
    from prunemark.reports.check import answers, check_words
    from prunemark.stats.rivals import rivals as compare
    from prunemark.study.exports import SUFFIXES, write_table
    from prunemark.study.judging import as_json

    found = [one for subject in judged.subjects for one in compare(judged.results, subject, method, rivals)]
    sentences = check_words(judged, method, found)
    if json:
        said = json_format.loads(as_json(judged))
        print(json_format.dumps(said | {"method": method, "answers": sentences}, indent=1, ensure_ascii=False))
    else:
        console.print()
        for sentence in sentences:
            console.print(f"- {sentence}", markup=False)
    if format is not None:
        path = folder / f"check.{SUFFIXES.get(format, format)}"
        written = write_table(answers(judged, method, found), path, cast("Format", format))
        if not json:
            console.print(f"table: {written}", soft_wrap=True)


def _items(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def _fractions(text: str | None) -> tuple[list[float], list[str]]:
    """Sparsities of a text, and the problems of those that are none."""
    fractions: list[float] = []
    problems: list[str] = []
    for item in _items(text):
        try:
            value = float(item)
        except ValueError:
            problems.append(f'--sparsities: "{item}" is no number')
            continue
        fractions.append(value)
        if not 0 <= value < 1:
            problems.append(f"--sparsities: sparsity is the pruned fraction, in [0, 1), not {item}")
    if text is not None and not fractions and not problems:
        problems.append("--sparsities: names none")
    return fractions, problems

"""Study files: reading them, by path or by shipped name, with what they extend. No torch."""

from pathlib import Path
from typing import Any

from prunemark.datasets import anchored_dataset
from prunemark.own_code import anchored
from prunemark.registry import unknown
from prunemark.study.problems import StudyError
from prunemark.study.shipped import experiments, settings, shipped, studies, study_name, toml_fields


def read(study: str | Path) -> tuple[dict[str, Any], str]:
    """The fields of a study, from a file or by a shipped name, and what to call it in messages.

    Relative "FILE.py:NAME" references, and `depends_on`, are taken from the file's folder. `extends = STUDY` takes
    every field that the file does not give, but name and description, from another study: a shipped name, or a file
    beside this one.

    Raises:
        StudyError: no such study, TOML that cannot be read, or studies that extend each other.
    """
    return _read(study, Path.cwd(), ())


def _read(study: str | Path, folder: Path, extended_by: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    path = folder / study
    if isinstance(study, str) and (found := shipped(study)):
        (fields, origin), beside = found, Path.cwd()
    elif path.suffix == ".toml" or path.is_file():
        origin, beside = str(study if folder == Path.cwd() else path), path.parent
        fields = _absolute(toml_fields(path, origin), beside)
    else:
        raise StudyError([_no_such_study(str(study))])
    if origin in extended_by:
        raise StudyError([f"{origin}: extends: circular reference: {' -> '.join([*extended_by, origin])}"])
    if "extends" not in fields:
        return fields, origin
    base = fields.pop("extends")
    if not isinstance(base, str):
        raise StudyError([f"{origin}: extends: must be the name or the file of a study, not {base!r}"])
    try:
        inherited, _ = _read(base, beside, (*extended_by, origin))
    except StudyError as error:
        raise error if extended_by else StudyError(f"{origin}: extends: {line}" for line in error.problems) from None
    return {key: value for key, value in inherited.items() if key not in ("name", "description")} | fields, origin


def _no_such_study(name: str) -> str:
    if name in experiments():
        example = study_name(name, next(iter(settings())))
        return f'"{name}" is an experiment; name its setting too, as in "{example}" (prunemark list studies)'
    return f"{unknown('study', name, studies())}; a file of yours ends in .toml"


def _absolute(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields with each "FILE.py:NAME", and what they depend on, taken from the study's folder."""

    def resolved(value: Any) -> Any:
        return anchored(value, folder) if isinstance(value, str) else value

    fields = {key: resolved(value) if key == "network" else value for key, value in fields.items()}
    if isinstance(dataset := fields.get("dataset"), str):
        fields["dataset"] = anchored_dataset(dataset, folder)
    if isinstance(metric := fields.get("metric"), dict):
        fields["metric"] = metric | {"name": resolved(metric.get("name"))}
    recipe = fields.get("recipe")
    if isinstance(recipe, dict) and "loss" in recipe:
        fields["recipe"] = recipe | {"loss": resolved(recipe["loss"])}
    declared = fields.get("depends_on")
    if isinstance(declared, list):
        fields["depends_on"] = [
            str(folder / Path(each).expanduser()) if isinstance(each, str) else each for each in declared
        ]
    methods = fields.get("methods")
    if isinstance(methods, list):
        fields["methods"] = [
            {**item, "name": resolved(item.get("name"))}
            if isinstance(item, dict) and "name" in item
            else resolved(item)
            for item in methods
        ]
    return fields

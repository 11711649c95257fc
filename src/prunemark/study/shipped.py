"""Studies that ship with prunemark: every experiment on every setting, and a few of their own. No torch.

`studies/experiments` holds one file per experiment (what is compared), `studies/settings` one per setting (network,
data, scale). Each pair is a study: experiment "e1" on setting "paper/resnet-20" is "paper/e1-resnet-20", and the
experiment "whole" bears the setting's own name. Any other file under `studies` is a study as it stands.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from prunemark.registry import unknown
from prunemark.study.problems import StudyError

WHOLE = "whole"
"""The experiment that is named by its setting alone."""

_VALUE = re.compile(r"(.*?)\{(\w+)\}(.*)")


def studies() -> dict[str, str]:
    """Descriptions of the shipped studies by name, such as "quickstart" or "laptop/e1-digits"."""
    described, questions = settings(), experiments()
    pairs = {name: f"{described[setting]}: {questions[experiment]}" for name, (experiment, setting) in _pairs().items()}
    return single_studies() | pairs


def experiments() -> dict[str, str]:
    """Descriptions of the experiments by name, "whole" first."""
    return _descriptions(_experiment_files())


def settings() -> dict[str, str]:
    """Descriptions of the settings by name, such as "paper/resnet-20"."""
    return _descriptions(_setting_files())


def single_studies() -> dict[str, str]:
    """Descriptions, by name, of the studies that are no experiment on a setting."""
    return _descriptions(_single_files())


def study_name(experiment: str, setting: str) -> str:
    """Name of the study that is an experiment on a setting."""
    scale, slash, place = setting.rpartition("/")
    return setting if experiment == WHOLE else f"{scale}{slash}{experiment}-{place}"


def shipped(name: str) -> tuple[dict[str, Any], str] | None:
    """Fields of a shipped study, and what to call it in messages; None where there is no such study.

    Raises:
        StudyError: its experiment and its setting do not fit each other.
    """
    if name in _single_files():
        origin = f"studies/{name}.toml"
        return toml_fields(_single_files()[name], origin), origin
    if name not in _pairs():
        return None
    experiment, setting = _pairs()[name]
    origin = f"{name} (studies/experiments/{experiment}.toml on studies/settings/{setting}.toml)"
    try:
        return {"name": name.replace("/", "-")} | _combined(experiment, setting), origin
    except StudyError as error:
        raise StudyError(f"{origin}: {problem}" for problem in error.problems) from None


def toml_fields(file: Traversable, origin: str) -> dict[str, Any]:
    """Fields of a TOML file.

    Args:
        file: where it is.
        origin: what to call it in messages.

    Raises:
        StudyError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise StudyError([f"{origin}: not valid TOML: {error}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StudyError([f"{origin}: the study cannot be read: {reason}"]) from None


def _combined(experiment: str, setting: str) -> dict[str, Any]:
    """Fields of an experiment on a setting: the setting's, then the experiment's, then the setting's own for it."""
    asked = _experiment(experiment)
    given = toml_fields(_setting_files()[setting], f"studies/settings/{setting}.toml")
    values = asked.pop("values", {}) | given.pop("values", {})
    exceptions = given.pop("experiments", {})
    for name in exceptions.keys() - _experiment_files().keys():
        raise StudyError([f"experiments: {unknown('experiment', name, _experiment_files())}"])
    described = {"description": f"{given.get('description', '')}: {asked.get('description', '')}"}
    return given | _filled(asked, values) | exceptions.get(experiment, {}) | described


def _experiment(name: str) -> dict[str, Any]:
    fields = toml_fields(_experiment_files()[name], f"studies/experiments/{name}.toml")
    base = fields.pop("extends", None)
    return (_experiment(base) if base else {}) | fields


def _filled(item: Any, values: Mapping[str, Any]) -> Any:
    """A field of an experiment with each "{name}" replaced by the setting's value.

    A string that is nothing else becomes the value itself. Around a list, text is repeated for each of its items, and
    within a list these take the string's place: ["a", "b:{steps}"] becomes ["a", "b:0ep", "b:1ep"].
    """
    if isinstance(item, dict):
        return {key: _filled(part, values) for key, part in item.items()}
    if isinstance(item, list):
        filled: list[Any] = []
        for part in item:
            new = _filled(part, values)
            filled += new if isinstance(part, str) and isinstance(new, list) else [new]
        return filled
    found = _VALUE.fullmatch(item) if isinstance(item, str) else None
    if found is None:
        return item
    before, name, after = found.groups()
    if name not in values:
        raise StudyError([f"values: {unknown('value', name, values)}"])
    value = values[name]
    if not before and not after:
        return value
    return [f"{before}{one}{after}" for one in value] if isinstance(value, list) else f"{before}{value}{after}"


def _pairs() -> dict[str, tuple[str, str]]:
    """Experiment and setting of each study that is made of the two."""
    return {
        study_name(experiment, setting): (experiment, setting)
        for setting in _setting_files()
        for experiment in _experiment_files()
    }


def _experiment_files() -> dict[str, Traversable]:
    files = _files("experiments/")
    return {name: files[name] for name in sorted(files, key=lambda name: (name != WHOLE, name))}


def _setting_files() -> dict[str, Traversable]:
    return _files("settings/")


def _single_files() -> dict[str, Traversable]:
    return {name: file for name, file in _files("").items() if not name.startswith(("experiments/", "settings/"))}


def _files(folder: str) -> dict[str, Traversable]:
    """The files below a folder of `studies`, by their path from there, without the ending."""
    found = dict(_toml_files(resources.files("prunemark") / "studies", ""))
    return {name.removeprefix(folder): file for name, file in found.items() if name.startswith(folder)}


def _toml_files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name.removesuffix(".toml")):
        if item.name.endswith(".toml"):
            yield prefix + item.name.removesuffix(".toml"), item
        elif item.is_dir():
            yield from _toml_files(item, f"{prefix}{item.name}/")


def _descriptions(files: Mapping[str, Traversable]) -> dict[str, str]:
    return {name: str(toml_fields(file, str(file)).get("description", "")) for name, file in files.items()}

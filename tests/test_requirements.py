import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent


TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Extras that `make oldest` does not install: what they admit begins with what `make integrations` runs."""


def pinned(name: str) -> dict[str, Version]:
    """Package -> its version in a file of requirements."""
    return {
        requirement.name: Version(next(iter(requirement.specifier)).version)
        for line in (ROOT / "requirements" / name).read_text().splitlines()
        if not line.startswith(("#", "-r"))
        for requirement in [Requirement(line)]
    }


def test_trackers_are_admitted_from_the_releases_that_are_tested() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    tested = pinned("trackers.txt")
    for name in TRACKERS:
        (requirement,) = map(Requirement, extras[name])
        assert str(requirement.specifier) == f">={tested[requirement.name]}"


def test_what_make_oldest_installs_is_the_oldest_that_is_admitted() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    admitted = [
        *project["dependencies"],
        *(text for name, extra in project["optional-dependencies"].items() if name not in TRACKERS for text in extra),
    ]
    # Ray has an environment of its own, and is tried in one version.
    oldest = pinned("ray.txt") | pinned("oldest.txt")
    for requirement in map(Requirement, admitted):
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert oldest[requirement.name] == Version(bound.version), requirement.name

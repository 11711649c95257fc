import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def test_what_make_oldest_installs_is_the_oldest_that_is_admitted() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    admitted = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]
    oldest = {
        requirement.name: Version(next(iter(requirement.specifier)).version)
        # Ray has an environment of its own, and is tried in one version.
        for file in ("ray", "oldest")
        for line in (ROOT / f"requirements/{file}.txt").read_text().splitlines()
        if not line.startswith(("#", "-r"))
        for requirement in [Requirement(line)]
    }
    for requirement in map(Requirement, admitted):
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert oldest[requirement.name] == Version(bound.version), requirement.name

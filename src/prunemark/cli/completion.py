"""What a shell completes: names of studies, methods, networks and data sets. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path


def studies(incomplete: str) -> list[str]:
    """Shipped studies, and study files."""
    from prunemark.study.shipped import studies as shipped

    return [*_beginning(shipped(), incomplete), *_files(incomplete, ".toml")]


def methods(incomplete: str) -> list[str]:
    """Methods, and files that may hold one."""
    from prunemark.methods import METHODS

    return [*_beginning(METHODS, incomplete), *_files(incomplete, ".py")]


def several_methods(incomplete: str) -> list[str]:
    """The last of methods that are separated by commas."""
    from prunemark.methods import METHODS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(METHODS, last)]


def networks(incomplete: str) -> list[str]:
    """Networks, and files that may hold one."""
    from prunemark.networks import NETWORKS

    return [*_beginning(NETWORKS, incomplete), *_files(incomplete, ".py")]


def datasets(incomplete: str) -> list[str]:
    """Data sets."""
    from prunemark.datasets import DATASETS

    return _beginning(DATASETS, incomplete)


def kinds(incomplete: str) -> list[str]:
    """What `list` lists."""
    return _beginning(("methods", "networks", "datasets", "studies"), incomplete)


def trackers(incomplete: str) -> list[str]:
    """Where `run --track` sends results."""
    from prunemark.study.tracking import TRACKERS

    return _beginning(TRACKERS, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _files(incomplete: str, suffix: str) -> list[str]:
    """Files of a suffix, and folders to look further in."""
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    if not folder.is_dir():
        return []
    shown = [f"{path}/" if path.is_dir() else str(path) for path in sorted(folder.iterdir()) if path.name[0] != "."]
    return [path for path in shown if path.startswith(incomplete) and path.endswith(("/", suffix))]

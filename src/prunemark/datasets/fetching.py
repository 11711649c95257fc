"""Fetching the files of a data set, and saying which of them are there. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prunemark.datasets import DATASETS, split_scheme
from prunemark.datasets.download import DownloadProgress
from prunemark.datasets.files import (
    DataFile,
    ImageFolder,
    Source,
    cache_folder,
    check,
    downloaded,
    found,
    found_folder,
    given_folder,
    not_available,
    require_sound,
)
from prunemark.datasets.sources import SOURCES
from prunemark.registry import find

State = Literal["present", "missing", "incomplete", "damaged"]


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """State of one file of a data set, or of the images below one folder.

    Attributes:
        name: the file's name, or a pattern of images.
        state: present (and verified), missing, incomplete (a folder with too few images) or damaged.
        path: where it is; None if it is missing.
        expected: its checksums, or the number of images.
        found: what was found instead or as expected; "" if it is missing.
    """

    name: str
    state: State
    path: Path | None
    expected: str
    found: str


def fetch(
    name: str, *, data_dir: str | Path | None = None, progress: DownloadProgress | None = None
) -> list[FileReport]:
    """Download the files of a data set that are not here yet, and verify all of them.

    A file goes into DATA_DIR/DATA_SET (PRUNEMARK_DATA by default), without either into the cache of downloads. What is
    there already is verified and left alone. A download that is cut off leaves NAME.part, from which the next call
    is resumed; one with another checksum is deleted.

    Args:
        name: of DATASETS, or "hub:OWNER/NAME".
        data_dir: an existing folder.
        progress: called with a file's name, the bytes that are here and the bytes in all (or None) while it comes.

    Returns:
        What `verify` returns; everything is present. Nothing for data that are part of the package.

    Raises:
        ValueError: an unknown name; a file that is here is damaged, or one could not be downloaded. The message says
            which files to put where.
    """
    scheme, rest = split_scheme(name)
    if scheme:
        _load_from_hub(rest, data_dir)
        return []
    source = _source(name)
    if source is None:
        return []
    if found_folder(source, data_dir) is None:
        if source.folder and not source.files:
            raise not_available(source, data_dir, "its images are missing")
        given = given_folder(data_dir)
        into = given / source.dataset if given else cache_folder(source.dataset)
        for file in source.files:
            path = found(source, file, data_dir)
            if path is None:
                downloaded(source, file, data_dir=data_dir, into=into, progress=progress)
            else:
                require_sound(path, file)
    return verify(name, data_dir=data_dir)


def verify(name: str, *, data_dir: str | Path | None = None) -> list[FileReport]:
    """State of a data set on this machine, file by file; nothing is downloaded.

    Files are looked for where `prunemark.dataset` looks for them, the cache of downloads included. Of folders of
    images, the images are counted.

    Args:
        name: of DATASETS.
        data_dir: an existing folder; PRUNEMARK_DATA by default.

    Returns:
        One report a file, or a pattern of images; none for data that are part of the package.

    Raises:
        ValueError: an unknown name, or one of the hub; `data_dir` is not a folder; a file cannot be read.
    """
    if split_scheme(name)[0]:
        raise ValueError(f'"{name}": the hub publishes no checksums; the package datasets verifies what it downloads')
    source = _source(name)
    if source is None:
        return []
    folder = found_folder(source, data_dir)
    if source.folder and (folder or not source.files):
        return [_counted(folder, source.folder, pattern) for pattern in source.folder.images]
    return [_checked(source, file, data_dir) for file in source.files]


def _source(name: str) -> Source | None:
    find(DATASETS, "data set", name)
    return SOURCES.get(name)


def _load_from_hub(name: str, data_dir: str | Path | None) -> None:
    # Imported here: it imports torch.
    from prunemark.datasets import hub

    hub.load(name, data_dir=data_dir)


def _checked(source: Source, file: DataFile, data_dir: str | Path | None) -> FileReport:
    path = found(source, file, data_dir)
    if path is None:
        cached = cache_folder(source.dataset) / file.name
        path = cached if cached.is_file() else None
    if path is None:
        return FileReport(name=file.name, state="missing", path=None, expected=file.checksums, found="")
    checked = check(path, file)
    state = "present" if checked.sound else "damaged"
    return FileReport(name=file.name, state=state, path=path, expected=checked.expected, found=checked.found)


def _counted(folder: Path | None, images: ImageFolder, pattern: str) -> FileReport:
    expected = images.images[pattern]
    words = f"{expected:,} images"
    if folder is None:
        return FileReport(name=pattern, state="missing", path=None, expected=words, found="")
    count = sum(1 for _ in folder.glob(pattern))
    state: State = "present" if count == expected else "damaged"
    if count < expected:
        state = "incomplete" if count else "missing"
    return FileReport(name=pattern, state=state, path=folder, expected=words, found=f"{count:,} images")

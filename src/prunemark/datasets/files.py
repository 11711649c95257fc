"""Finding, downloading and verifying the files of a data set."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from prunemark.datasets.download import DownloadProgress, download, partial

ENVIRONMENT_VARIABLE = "PRUNEMARK_DATA"
_RETRIES = 2

# Ten times what the largest file of the MNIST family has; a small file may unpack to terabytes.
_LARGEST_CONTENT = 1 << 29


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file as published.

    `sha256` is the published file's, and so is `md5`, where the publisher gives one. `content_sha256`, of a
    gzip-compressed file, is that of the decompressed bytes, which also recognises copies that were compressed anew or
    not at all.
    """

    name: str
    sha256: str
    content_sha256: str = ""
    md5: str = ""

    @property
    def accepted_names(self) -> tuple[str, ...]:
        """The names by which it is looked for."""
        return (self.name, self.name.removesuffix(".gz")) if self.content_sha256 else (self.name,)

    @property
    def checksums(self) -> str:
        """Checksums of the published file, in words."""
        return f"SHA-256 {self.sha256}{f', MD5 {self.md5}' if self.md5 else ''}"


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """A folder of images that holds a data set; `images` says how many files match each pattern below it."""

    name: str
    images: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, kw_only=True)
class Source:
    """Published files of one data set, and the local folders that may hold them.

    `urls` are folders, tried in this order; `system_folders` are where packages of an operating system put
    the files; `folder` serves instead of the files; `hint` is a sentence for those who can reach no download.
    """

    dataset: str
    files: tuple[DataFile, ...]
    urls: tuple[str, ...]
    system_folders: tuple[Path, ...] = ()
    folder: ImageFolder | None = None
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file's checksums in words, expected and found; `sound` if they agree."""

    sound: bool
    expected: str
    found: str


def read(source: Source, file: DataFile, *, data_dir: str | Path | None = None) -> bytes:
    """The verified, decompressed content of one of the source's gzip files, downloaded if it is nowhere.

    The search goes through `data_dir`/DATA_SET, `data_dir`, the system's folders and the cache of
    downloads. `data_dir` is PRUNEMARK_DATA by default. A file is accepted with or without its ".gz". The
    first file of that name counts: one that is damaged is an error, never a reason to look further.

    Raises:
        ValueError: `data_dir` is not a folder; the file could not be downloaded, or its SHA-256 is another one. The
            message names the file, the expected and found checksums, and which files to put where.
    """
    return verified_content(found(source, file, data_dir) or downloaded(source, file, data_dir=data_dir), file)


def archive(source: Source, file: DataFile, *, data_dir: str | Path | None = None) -> Path:
    """The verified file itself, looked for as `read` does, and only as it was published.

    Raises:
        ValueError: as `read`.
    """
    path = found(source, file, data_dir)
    if path is None:
        return downloaded(source, file, data_dir=data_dir)
    require_sound(path, file)
    return path


def folders(source: Source, data_dir: str | Path | None) -> list[Path]:
    """Folders searched for a source's files before the cache of downloads.

    Raises:
        ValueError: `data_dir`, or PRUNEMARK_DATA in its place, is not a folder.
    """
    folder = given_folder(data_dir)
    if folder is None:
        return list(source.system_folders)
    return [folder / source.dataset, folder, *source.system_folders]


@contextmanager
def data_folder(data_dir: str | Path | None) -> Generator[None]:
    """Have data sets looked for in a folder for a while, as if PRUNEMARK_DATA named it; with None, change nothing."""
    if data_dir is None:
        yield
        return
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    os.environ[ENVIRONMENT_VARIABLE] = str(data_dir)
    try:
        yield
    finally:
        os.environ.pop(ENVIRONMENT_VARIABLE, None)
        if before is not None:
            os.environ[ENVIRONMENT_VARIABLE] = before


def given_folder(data_dir: str | Path | None) -> Path | None:
    """`data_dir`, by default PRUNEMARK_DATA, or None without either.

    Raises:
        ValueError: it is not a folder.
    """
    given, label = data_dir, "data_dir"
    if given is None and os.environ.get(ENVIRONMENT_VARIABLE):
        given, label = os.environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE
    if given is None:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise ValueError(f'{label} must be an existing folder, but is "{given}"')
    return folder


def cache_folder(dataset: str) -> Path:
    """Folder for downloads of a data set and for what is made of them."""
    return Path(platformdirs.user_cache_dir("prunemark")) / dataset


def found(source: Source, file: DataFile, data_dir: str | Path | None) -> Path | None:
    """The first file of that name in `folders`, unverified, or None."""
    places = (folder / name for folder in folders(source, data_dir) for name in file.accepted_names)
    return next((path for path in places if path.is_file()), None)


def found_folder(source: Source, data_dir: str | Path | None) -> Path | None:
    """The first folder in `folders` that holds the source's images, or None.

    It is one in which each of the patterns finds its first folder: "train", for example.
    """
    if source.folder is None:
        return None
    tops = {pattern.split("/", 1)[0] for pattern in source.folder.images}
    places = (folder / source.folder.name for folder in folders(source, data_dir))
    return next((place for place in places if any((place / top).is_dir() for top in tops)), None)


def check(path: Path, file: DataFile) -> Checked:
    """Compare a file's checksums: the content's of a gzip file, the file's own of any other.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        if file.content_sha256:
            return _check_content(path, path.read_bytes(), file)[0]
        sha256, md5 = _digests(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    sound = sha256 == file.sha256 and (not file.md5 or md5 == file.md5)
    found = f"SHA-256 {sha256}{f', MD5 {md5}' if file.md5 else ''} ({path.stat().st_size:,} bytes)"
    return Checked(sound=sound, expected=file.checksums, found=found)


def require_sound(path: Path, file: DataFile) -> None:
    """Check a file as `check` does.

    Raises:
        ValueError: the file cannot be read, or has other checksums.
    """
    checked = check(path, file)
    if not checked.sound:
        raise ValueError(
            f"{path}: wrong checksum: expected {checked.expected}, found {checked.found}. "
            "Replace the file or remove it."
        )


def verified_content(path: Path, file: DataFile) -> bytes:
    """The decompressed bytes of `path`, which must be `file`'s content.

    Raises:
        ValueError: the file cannot be read or decompressed, or its content has another SHA-256.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    checked, content = _check_content(path, stored, file)
    if content is None:
        raise ValueError(f"{path}: expected {checked.expected}, found {checked.found}. Replace the file or remove it.")
    if not checked.sound:
        raise ValueError(
            f"{path}: wrong checksum of the {'decompressed ' if path.suffix == '.gz' else ''}content: "
            f"expected {checked.expected}, found {checked.found}. Replace the file or remove it."
        )
    return content


def downloaded(
    source: Source,
    file: DataFile,
    *,
    data_dir: str | Path | None = None,
    into: Path | None = None,
    progress: DownloadProgress | None = None,
) -> Path:
    """A published file, downloaded into a folder unless it is there, and verified.

    What came of a download that was cut off stays beside it as NAME.part, and the next try resumes from there. A
    download with another checksum is deleted.

    Args:
        source: says where it is published.
        file: which of its files.
        data_dir: where it was looked for, for the message.
        into: the folder; by default the cache of downloads.
        progress: see `DownloadProgress`.

    Raises:
        ValueError: it could not be downloaded, or not as it was published. The message says which files to put where.
    """
    from requests.exceptions import RequestException

    into = into or cache_folder(source.dataset)
    path = into / file.name
    if path.is_file() and _digests(path)[0] == file.sha256:
        return path
    failures: list[str] = []
    failure = ""
    for url in (f"{base.rstrip('/')}/{file.name}" for base in source.urls):
        for _ in range(1 + _RETRIES):
            try:
                _fetch(url, file, path, progress)
                return path
            except (RequestException, ValueError, OSError) as error:
                failure = f"  {url}: {type(error).__name__}: {_reason(error)}"
        failures.append(failure)
    raise not_available(source, data_dir, f"{file.name} is missing", failures)


def _fetch(url: str, file: DataFile, path: Path, progress: DownloadProgress | None) -> None:
    """Download a file and verify it before it gets its name."""
    whole = path.with_name(f".{path.name}.unverified")
    download(url, file.name, partial(path), whole, progress)
    found, _ = _digests(whole)
    if found != file.sha256:
        whole.unlink()
        raise ValueError(f"SHA-256 {found} instead of {file.sha256}")
    whole.replace(path)


def not_available(
    source: Source, data_dir: str | Path | None, missing: str, failures: list[str] | None = None
) -> ValueError:
    """The error that says what is missing, where it was looked for, and which files to put where."""
    places = ", ".join(str(folder) for folder in folders(source, data_dir)) or "no folder (none was given)"
    failed = [" and could not be downloaded:", *failures] if failures else ["."]
    wanted = [f"  {each.name}  {each.checksums}" for each in source.files]
    if not source.files and source.folder:
        wanted = [f"  {pattern}  {count:,} images" for pattern, count in source.folder.images.items()]
    return ValueError(
        "\n".join(
            [
                f'data set "{source.dataset}": {missing} (looked in {places}){failed[0]}',
                *failed[1:],
                f"Put these files into DIR/{source.dataset} and give DIR as data_dir or in {ENVIRONMENT_VARIABLE}:",
                *wanted,
                *([source.hint] if source.hint else []),
            ]
        )
    )


def _reason(error: Exception) -> str:
    """Plain reason of a failed download, without the wrapping of requests and urllib3."""
    inner: Any = error.args[0] if error.args else None
    # urllib3's "HTTPConnection(host=..., port=...): Failed to ...".
    if reason := getattr(inner, "reason", None):
        return str(reason).partition("): ")[2] or str(reason)
    return str(error)


def _check_content(path: Path, stored: bytes, file: DataFile) -> tuple[Checked, bytes | None]:
    content = stored
    if path.suffix == ".gz":
        try:
            with gzip.open(io.BytesIO(stored)) as stream:
                content = stream.read(_LARGEST_CONTENT + 1)
            if len(content) > _LARGEST_CONTENT:
                raise EOFError(f"more than {_LARGEST_CONTENT:,} bytes")
        except (EOFError, OSError, zlib.error) as error:
            found = (
                f"a truncated or damaged gzip file ({error}), SHA-256 {hashlib.sha256(stored).hexdigest()} "
                f"({len(stored):,} bytes)"
            )
            return Checked(sound=False, expected=file.checksums, found=found), None
    found = hashlib.sha256(content).hexdigest()
    return (
        Checked(
            sound=found == file.content_sha256,
            expected=f"SHA-256 {file.content_sha256}",
            found=f"SHA-256 {found} ({len(content):,} bytes)",
        ),
        content,
    )


def _digests(path: Path) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{path}: cannot be read: {error}")

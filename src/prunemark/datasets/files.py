"""Finding, downloading and verifying the files of a data set."""

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT_VARIABLE = "PRUNEMARK_DATA"
_RETRIES = 2


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A gzip-compressed file as published.

    `sha256` is the published file's; `content_sha256` is that of the decompressed bytes, which also
    recognises copies that were compressed anew or not at all.
    """

    name: str
    sha256: str
    content_sha256: str

    @property
    def uncompressed_name(self) -> str:
        """The name without its ".gz"."""
        return self.name.removesuffix(".gz")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the files of one data set are published, and where else they may lie.

    `urls` are folders, tried in this order; `system_folders` are where packages of an operating system put
    the files; `hint` is a sentence for those who can reach no download.
    """

    dataset: str
    files: tuple[DataFile, ...]
    urls: tuple[str, ...]
    system_folders: tuple[Path, ...] = ()
    hint: str = ""


def read(source: Source, file: DataFile, *, data_dir: str | Path | None = None) -> bytes:
    """The verified, decompressed content of one of the source's files, downloaded if it is nowhere.

    The search goes through `data_dir`/DATA_SET, `data_dir`, the system's folders and the cache of
    downloads. `data_dir` is PRUNEMARK_DATA by default. A file is accepted with or without its ".gz". The
    first file of that name counts: one that is damaged is an error, never a reason to look further.

    Raises:
        ValueError: `data_dir` is no folder; the file cannot be had, or its SHA-256 is another one. The
            message names the file, the expected and found checksums, and which files to put where.
    """
    folders = _folders(source, data_dir)
    for folder in folders:
        for name in (file.name, file.uncompressed_name):
            if (folder / name).is_file():
                return verified_content(folder / name, file)
    return verified_content(_download(source, file, folders), file)


def verified_content(path: Path, file: DataFile) -> bytes:
    """The decompressed bytes of `path`, which must be `file`'s content.

    Raises:
        ValueError: the file cannot be read or decompressed, or its content has another SHA-256.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    content = stored
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(stored)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"{path}: truncated or damaged gzip file ({error}); expected SHA-256 {file.sha256}, "
                f"found {hashlib.sha256(stored).hexdigest()} ({len(stored)} bytes). Replace the file or remove it."
            ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.content_sha256:
        raise ValueError(
            f"{path}: wrong checksum of the {'decompressed ' if content is not stored else ''}content: "
            f"expected SHA-256 {file.content_sha256}, found {found} ({len(content)} bytes). "
            "Replace the file or remove it."
        )
    return content


def _folders(source: Source, data_dir: str | Path | None) -> list[Path]:
    given, label = data_dir, "data_dir"
    if given is None and os.environ.get(ENVIRONMENT_VARIABLE):
        given, label = os.environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE
    if given is None:
        return list(source.system_folders)
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise ValueError(f'{label} must be an existing folder, but is "{given}"')
    return [folder / source.dataset, folder, *source.system_folders]


def _download(source: Source, file: DataFile, searched: list[Path]) -> Path:
    # Imported here: pooch brings the whole of requests, which data that is on disk does not need.
    import pooch
    from requests.exceptions import RequestException

    failures: list[str] = []
    for url in source.urls:
        store = pooch.create(
            path=Path(pooch.os_cache("prunemark")) / source.dataset,
            base_url=f"{url.rstrip('/')}/",
            registry={file.name: f"sha256:{file.sha256}"},
            retry_if_failed=_RETRIES,
        )
        try:
            return Path(store.fetch(file.name))
        # ValueError is pooch's word for a checksum that does not match, OSError for a cache that is not writable.
        except (RequestException, ValueError, OSError) as error:
            failures.append(f"  {store.get_url(file.name)}: {type(error).__name__}: {error}")
    raise ValueError(_not_available(source, file, searched, failures))


def _not_available(source: Source, file: DataFile, searched: list[Path], failures: list[str]) -> str:
    places = ", ".join(str(folder) for folder in searched) or "no folder (none was given)"
    wanted = [f"  {each.name}  SHA-256 {each.sha256}" for each in source.files]
    return "\n".join(
        [
            f'data set "{source.dataset}": {file.name} is missing (looked in {places}) and could not be downloaded:',
            *failures,
            f"Put these files into DIR/{source.dataset} and give DIR as data_dir or in {ENVIRONMENT_VARIABLE}:",
            *wanted,
            *([source.hint] if source.hint else []),
        ]
    )

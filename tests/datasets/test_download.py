import hashlib
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from prunemark.datasets.files import Source, archive, downloaded
from tests.datasets.archives import archive_source, data_file
from tests.datasets.conftest import FileServer

NAME = "big.tar.gz"
CONTENT = np.random.default_rng(0).bytes(400_000)


@pytest.fixture
def source(server: FileServer) -> Source:
    server.files[NAME] = CONTENT
    return archive_source("big", NAME, CONTENT, server.url)


def get(source: Source) -> bytes:
    return archive(source, source.files[0]).read_bytes()


def part_of(cache: Path) -> Path:
    return cache / "big" / f"{NAME}.part"


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "big").iterdir())


def test_a_dropped_connection_is_taken_up_where_it_was_cut(server: FileServer, source: Source, cache: Path) -> None:
    server.drops[NAME] = [150_000, 100_000]
    assert get(source) == CONTENT
    first, second, third = server.offsets[NAME]
    assert first == 0 < second <= 150_000 < third <= 250_000
    assert left(cache) == [NAME]


def test_what_came_is_kept_for_the_next_call(server: FileServer, source: Source, cache: Path) -> None:
    server.drops[NAME] = [200_000, *[0] * 10]
    with pytest.raises(ValueError, match=r"could not be downloaded:\n.*(ChunkedEncodingError|ConnectionError)"):
        get(source)
    here = part_of(cache).read_bytes()
    assert 100_000 < len(here) <= 200_000
    assert CONTENT.startswith(here)
    server.drops.clear()
    server.offsets.clear()
    assert get(source) == CONTENT
    assert server.offsets[NAME] == [len(here)]
    assert left(cache) == [NAME]


def test_a_server_that_cannot_resume_sends_the_whole_file(server: FileServer, source: Source, cache: Path) -> None:
    server.resumes = False
    part_of(cache).parent.mkdir(parents=True)
    part_of(cache).write_bytes(CONTENT[:1000])
    assert get(source) == CONTENT
    assert server.offsets[NAME] == [0]


def test_a_complete_part_is_not_downloaded_again(server: FileServer, source: Source, cache: Path) -> None:
    part_of(cache).parent.mkdir(parents=True)
    part_of(cache).write_bytes(CONTENT)
    assert get(source) == CONTENT
    assert server.offsets[NAME] == []
    assert left(cache) == [NAME]


@pytest.mark.parametrize("foreign", [b"x" * 1000, b"x" * 500_000], ids=["shorter", "longer than the file"])
def test_a_part_of_another_file_is_replaced(server: FileServer, source: Source, cache: Path, foreign: bytes) -> None:
    part_of(cache).parent.mkdir(parents=True)
    part_of(cache).write_bytes(foreign)
    assert get(source) == CONTENT
    assert server.offsets[NAME][-1] == 0
    assert left(cache) == [NAME]


def test_a_wrong_file_is_refused_and_deleted(server: FileServer, source: Source, cache: Path) -> None:
    server.files[NAME] = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        get(source)
    assert source.files[0].sha256 in str(caught.value)
    assert hashlib.sha256(server.files[NAME]).hexdigest() in str(caught.value)
    assert left(cache) == []


def test_two_processes_do_not_write_to_one_file(source: Source, cache: Path) -> None:
    part_of(cache).parent.mkdir(parents=True)
    busy = r"another process is downloading to .*big\.tar\.gz\.part; wait for it"
    lock = part_of(cache).with_name(f".{part_of(cache).name}.lock")
    with FileLock(lock), pytest.raises(ValueError, match=busy):
        get(source)


def test_progress_is_told_in_bytes(server: FileServer, source: Source, tmp_path: Path) -> None:
    server.drops[NAME] = [150_000]
    told: list[tuple[str, int, int | None]] = []
    path = downloaded(source, source.files[0], into=tmp_path / "into", progress=lambda *now: told.append(now))
    assert path == tmp_path / "into" / NAME
    assert [name for name, _, _ in told] == [NAME] * len(told)
    here = [here for _, here, _ in told]
    assert here == sorted(here)
    assert told[-1] == (NAME, len(CONTENT), len(CONTENT))
    assert {total for _, _, total in told} == {len(CONTENT)}


def test_an_empty_file_is_downloaded(server: FileServer) -> None:
    server.files[NAME] = b""
    source = Source(dataset="big", files=(data_file(NAME, b""),), urls=(server.url,))
    assert get(source) == b""

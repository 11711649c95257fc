import gzip
import hashlib
from pathlib import Path

import pytest

from prunemark.datasets.files import read
from tests.datasets.conftest import FileServer
from tests.datasets.idx_files import tiny_contents, tiny_published, tiny_source, write

NAME = "train-labels.gz"
CONTENT = tiny_contents()[NAME]
PUBLISHED = tiny_published()[NAME]
FILE = next(file for file in tiny_source().files if file.name == NAME)


@pytest.mark.parametrize("subfolder", ["tiny", "."])
@pytest.mark.parametrize("as_text", [True, False])
def test_found_in_data_dir_and_in_its_subfolder(tmp_path: Path, subfolder: str, as_text: bool) -> None:
    write(tmp_path / subfolder, {NAME: PUBLISHED})
    assert read(tiny_source(), FILE, data_dir=str(tmp_path) if as_text else tmp_path) == CONTENT


def test_found_where_the_environment_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEMARK_DATA", str(write(tmp_path / "data", {NAME: PUBLISHED})))
    assert read(tiny_source(), FILE) == CONTENT


def test_the_argument_goes_before_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEMARK_DATA", str(write(tmp_path / "environment", {NAME: b"damaged"})))
    assert read(tiny_source(), FILE, data_dir=write(tmp_path / "argument", {NAME: PUBLISHED})) == CONTENT


def test_an_empty_environment_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEMARK_DATA", "")
    system = write(tmp_path / "system", {NAME: PUBLISHED})
    assert read(tiny_source(system_folders=(system,)), FILE) == CONTENT


def test_each_file_is_looked_for_in_data_dir_then_the_system_then_the_download(
    tmp_path: Path, server: FileServer
) -> None:
    data_dir = write(tmp_path / "data", {"train-images.gz": tiny_published()["train-images.gz"]})
    system = write(tmp_path / "system", {NAME: PUBLISHED, "train-images.gz": b"never read"})
    server.files = tiny_published()
    source = tiny_source(urls=(server.url,), system_folders=(system,))
    for file in source.files:
        assert read(source, file, data_dir=data_dir) == tiny_contents()[file.name]
    assert sorted(server.requests) == ["test-images.gz", "test-labels.gz"]


@pytest.mark.parametrize("level", [1, 9])
def test_a_copy_compressed_anew_is_accepted(tmp_path: Path, level: int) -> None:
    anew = gzip.compress(CONTENT, compresslevel=level, mtime=1)
    assert hashlib.sha256(anew).hexdigest() != FILE.sha256
    assert read(tiny_source(), FILE, data_dir=write(tmp_path, {NAME: anew})) == CONTENT


def test_an_uncompressed_copy_is_accepted(tmp_path: Path) -> None:
    assert read(tiny_source(), FILE, data_dir=write(tmp_path, {"train-labels": CONTENT})) == CONTENT


@pytest.mark.parametrize(("name", "damage"), [(NAME, gzip.compress), ("train-labels", lambda content: content)])
def test_another_content_is_refused_with_both_checksums(tmp_path: Path, name: str, damage) -> None:
    other = CONTENT[:-1] + b"\xff"
    write(tmp_path, {name: damage(other)})
    with pytest.raises(ValueError, match="wrong checksum") as caught:
        read(tiny_source(), FILE, data_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert f"expected SHA-256 {FILE.content_sha256}, found SHA-256 {hashlib.sha256(other).hexdigest()}" in message


@pytest.mark.parametrize(
    "damaged",
    [PUBLISHED[:-9], PUBLISHED[:15], b"", b"<html>not found</html>", PUBLISHED[:12] + b"\xff" + PUBLISHED[13:]],
    ids=["truncated", "header only", "empty", "a web page", "a flipped byte"],
)
def test_a_damaged_gzip_file_is_refused_with_both_checksums(tmp_path: Path, damaged: bytes) -> None:
    write(tmp_path, {NAME: damaged})
    with pytest.raises(ValueError, match=r"damaged gzip file|wrong checksum") as caught:
        read(tiny_source(), FILE, data_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / NAME}: ")
    assert "expected SHA-256 " in message
    assert ", found " in message


def test_a_damaged_file_is_not_replaced_by_one_further_down(tmp_path: Path, server: FileServer) -> None:
    data_dir = write(tmp_path / "data", {NAME: b"damaged"})
    system = write(tmp_path / "system", {NAME: PUBLISHED})
    server.files = tiny_published()
    with pytest.raises(ValueError, match="damaged gzip file"):
        read(tiny_source(urls=(server.url,), system_folders=(system,)), FILE, data_dir=data_dir)
    assert not server.requests


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_data_dir_that_is_no_folder_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    if kind == "file":
        path.write_text("")
    with pytest.raises(ValueError, match=f'^data_dir must be an existing folder, but is "{path}"$'):
        read(tiny_source(), FILE, data_dir=path)
    monkeypatch.setenv("PRUNEMARK_DATA", str(path))
    with pytest.raises(ValueError, match=f'^PRUNEMARK_DATA must be an existing folder, but is "{path}"$'):
        read(tiny_source(), FILE)


def test_a_download_is_kept_for_the_next_time(server: FileServer, cache: Path) -> None:
    server.files = tiny_published()
    source = tiny_source(urls=(server.url,))
    assert read(source, FILE) == CONTENT
    assert read(source, FILE) == CONTENT
    assert server.requests == {NAME: 1}
    assert (cache / "tiny" / NAME).read_bytes() == PUBLISHED


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: FileServer, cache: Path) -> None:
    server.files = tiny_published()
    write(cache / "tiny", {NAME: b"damaged"})
    assert read(tiny_source(urls=(server.url,)), FILE) == CONTENT
    assert server.requests == {NAME: 1}


def test_a_failing_download_is_tried_again(server: FileServer) -> None:
    server.files = tiny_published()
    server.failures[NAME] = 2
    assert read(tiny_source(urls=(server.url,)), FILE) == CONTENT
    assert server.requests == {NAME: 3}


def test_the_second_address_is_used_when_the_first_has_nothing(server: FileServer) -> None:
    server.files = tiny_published()
    nothing = "http://127.0.0.1:1/"
    assert read(tiny_source(urls=(nothing, server.url)), FILE) == CONTENT


def test_a_download_with_another_checksum_is_refused_and_not_kept(server: FileServer, cache: Path) -> None:
    other = gzip.compress(CONTENT[:-1] + b"\xff")
    server.files = {NAME: other}
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        read(tiny_source(urls=(server.url,)), FILE)
    message = str(caught.value)
    assert f"{server.url}{NAME}: ValueError" in message
    assert FILE.sha256 in message
    assert hashlib.sha256(other).hexdigest() in message
    assert list((cache / "tiny").iterdir()) == []


def test_a_file_that_cannot_be_had_says_what_to_put_where(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1/"
    with pytest.raises(ValueError, match=r'data set "tiny": train-labels\.gz is missing') as caught:
        read(tiny_source(urls=(nowhere,)), FILE, data_dir=tmp_path)
    message = str(caught.value)
    for searched in (tmp_path / "tiny", tmp_path):
        assert str(searched) in message
    assert f"{nowhere}{NAME}: ConnectionError" in message
    assert "Put these files into DIR/tiny and give DIR as data_dir or in PRUNEMARK_DATA:" in message
    for file in tiny_source().files:
        assert f"{file.name}  SHA-256 {file.sha256}" in message
    assert message.endswith("Or ask the tests.")


def test_a_cache_that_cannot_be_written_is_named(cache: Path, server: FileServer) -> None:
    server.files = tiny_published()
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        read(tiny_source(urls=(server.url,)), FILE)
    assert str(cache) in str(caught.value)

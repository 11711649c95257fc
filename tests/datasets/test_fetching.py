import hashlib
from pathlib import Path

import pytest

from prunemark.datasets import fetching
from prunemark.datasets.fetching import FileReport, fetch, verify
from prunemark.datasets.files import Source
from prunemark.datasets.sources import SOURCES
from tests.datasets.archives import (
    IMAGENET,
    archive_source,
    cifar_10_members,
    imagenet_members,
    tar_gz,
    tiny_imagenet_members,
    tiny_imagenet_source,
    unpack,
    zipped,
)
from tests.datasets.conftest import FileServer
from tests.datasets.idx_files import tiny_contents, tiny_published, tiny_source, write

CIFAR = "cifar-10-binary.tar.gz"
ARCHIVE = tar_gz(cifar_10_members())


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> dict[str, Source]:
    """The published sources replaced by tiny ones on the server; "mnist" stands for data of several files."""
    server.files = {CIFAR: ARCHIVE, "tiny-imagenet-200.zip": zipped(tiny_imagenet_members()), **tiny_published()}
    several = tiny_source(urls=(server.url,))
    table = {
        "cifar-10": archive_source("cifar-10", CIFAR, ARCHIVE, server.url),
        "tinyimagenet": tiny_imagenet_source(server.files["tiny-imagenet-200.zip"], server.url),
        "mnist": Source(dataset="mnist", files=several.files, urls=several.urls),
        "imagenet": IMAGENET,
    }
    monkeypatch.setattr(fetching, "SOURCES", table)
    return table


def states(reports: list[FileReport]) -> dict[str, str]:
    return {report.name: report.state for report in reports}


def test_everything_that_can_be_fetched_has_a_source_of_its_own_name() -> None:
    assert SOURCES.keys() == {"cifar-10", "cifar-100", "fashion-mnist", "imagenet", "mnist", "tinyimagenet"}
    for name, source in SOURCES.items():
        assert source.dataset == name
        for file in source.files:
            assert len(file.sha256) == 64
            assert source.urls


def test_the_published_checksums() -> None:
    assert {name: SOURCES[name].files[0].md5 for name in ("cifar-10", "cifar-100", "tinyimagenet")} == {
        "cifar-10": "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-100": "03b5dce01913d631647c71ecec9e9cb8",
        "tinyimagenet": "90528d7ca1a48142e341f4ef8d21d0de",
    }


@pytest.mark.usefixtures("sources")
def test_fetch_puts_files_into_the_cache(cache: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    (report,) = fetch("cifar-10", progress=lambda *now: told.append(now))
    assert report.path == cache / "cifar-10" / CIFAR
    assert report.path.read_bytes() == ARCHIVE
    assert report.state == "present"
    assert told[-1] == (CIFAR, len(ARCHIVE), len(ARCHIVE))


@pytest.mark.usefixtures("sources")
def test_fetch_puts_files_into_the_folder_that_was_given(tmp_path: Path, cache: Path, server: FileServer) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    reports = fetch("mnist", data_dir=data_dir)
    assert states(reports) == dict.fromkeys(tiny_published(), "present")
    assert sorted(path.name for path in (data_dir / "mnist").iterdir()) == sorted(tiny_published())
    assert not cache.exists()
    assert fetch("mnist", data_dir=data_dir) == reports
    assert set(server.requests.values()) == {1}


@pytest.mark.usefixtures("sources")
def test_fetch_goes_where_the_environment_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEMARK_DATA", str(tmp_path))
    (report,) = fetch("cifar-10")
    assert report.path == tmp_path / "cifar-10" / CIFAR


@pytest.mark.usefixtures("sources")
def test_fetch_goes_on_with_what_is_here(tmp_path: Path, server: FileServer) -> None:
    write(tmp_path / "cifar-10", {f"{CIFAR}.part": ARCHIVE[:1000]})
    fetch("cifar-10", data_dir=tmp_path)
    assert server.offsets[CIFAR] == [1000]
    assert [path.name for path in (tmp_path / "cifar-10").iterdir()] == [CIFAR]


@pytest.mark.usefixtures("sources")
def test_fetch_refuses_a_wrong_file_and_leaves_it_alone(tmp_path: Path, server: FileServer) -> None:
    path = write(tmp_path, {CIFAR: b"another"}) / CIFAR
    with pytest.raises(ValueError, match=rf"^{path}: wrong checksum: expected SHA-256 .*, MD5 .*, found SHA-256 "):
        fetch("cifar-10", data_dir=tmp_path)
    assert path.read_bytes() == b"another"
    assert not server.requests


@pytest.mark.usefixtures("sources")
def test_fetch_refuses_a_wrong_file_from_the_server_and_deletes_it(tmp_path: Path, server: FileServer) -> None:
    server.files[CIFAR] = b"another"
    with pytest.raises(ValueError, match="could not be downloaded"):
        fetch("cifar-10", data_dir=tmp_path)
    assert list((tmp_path / "cifar-10").iterdir()) == []


def test_fetch_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = archive_source("cifar-10", CIFAR, ARCHIVE, "http://127.0.0.1:1/")
    monkeypatch.setattr(fetching, "SOURCES", {"cifar-10": source})
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        fetch("cifar-10", data_dir=tmp_path)
    message = str(caught.value)
    assert "http://127.0.0.1:1/cifar-10-binary.tar.gz: ConnectionError: Failed to establish" in message
    assert "Max retries" not in message
    # Nothing came, so nothing is left.
    assert list((tmp_path / "cifar-10").iterdir()) == []
    assert "Put these files into DIR/cifar-10 and give DIR as data_dir or in PRUNEMARK_DATA:" in message
    assert f"{CIFAR}  SHA-256 {source.files[0].sha256}, MD5 {source.files[0].md5}" in message


@pytest.mark.usefixtures("sources")
def test_verify_tells_present_missing_and_damaged_apart(tmp_path: Path, server: FileServer) -> None:
    published, contents = tiny_published(), tiny_contents()
    write(
        tmp_path / "mnist",
        {
            "train-images.gz": published["train-images.gz"],
            "train-labels": contents["train-labels.gz"],
            "test-images.gz": published["test-images.gz"][:-9],
        },
    )
    reports = {report.name: report for report in verify("mnist", data_dir=tmp_path)}
    images, labels, damaged, missing = (reports[name] for name in published)
    assert (images.state, labels.state, damaged.state, missing.state) == ("present", "present", "damaged", "missing")
    assert labels.path == tmp_path / "mnist" / "train-labels"
    assert images.expected == f"SHA-256 {hashlib.sha256(contents['train-images.gz']).hexdigest()}"
    assert images.found.startswith(images.expected)
    assert damaged.found.startswith("a truncated or damaged gzip file")
    assert hashlib.sha256(published["test-images.gz"][:-9]).hexdigest() in damaged.found
    assert missing.path is None
    assert missing.found == ""
    assert not server.requests


@pytest.mark.usefixtures("sources")
def test_verify_tells_both_checksums_of_a_damaged_archive(tmp_path: Path) -> None:
    write(tmp_path, {CIFAR: ARCHIVE[:-1]})
    (report,) = verify("cifar-10", data_dir=tmp_path)
    assert report.state == "damaged"
    assert report.expected == (f"SHA-256 {hashlib.sha256(ARCHIVE).hexdigest()}, MD5 {hashlib.md5(ARCHIVE).hexdigest()}")
    cut = ARCHIVE[:-1]
    assert report.found == (
        f"SHA-256 {hashlib.sha256(cut).hexdigest()}, MD5 {hashlib.md5(cut).hexdigest()} ({len(cut):,} bytes)"
    )


@pytest.mark.usefixtures("sources")
def test_verify_sees_the_cache(cache: Path) -> None:
    assert states(verify("cifar-10")) == {CIFAR: "missing"}
    write(cache / "cifar-10", {CIFAR: ARCHIVE})
    (report,) = verify("cifar-10")
    assert (report.state, report.path) == ("present", cache / "cifar-10" / CIFAR)


@pytest.mark.usefixtures("sources")
def test_a_folder_of_images_serves_instead_of_the_archive(tmp_path: Path, server: FileServer) -> None:
    assert states(verify("tinyimagenet", data_dir=tmp_path)) == {"tiny-imagenet-200.zip": "missing"}
    members = tiny_imagenet_members()
    unpack(tmp_path, members)
    reports = fetch("tinyimagenet", data_dir=tmp_path)
    assert states(reports) == {"train/*/images/*.JPEG": "present", "val/images/*.JPEG": "present"}
    assert [(report.expected, report.found) for report in reports] == [("12 images",) * 2, ("5 images",) * 2]
    (tmp_path / "tiny-imagenet-200/train/n01/images/n01_2.JPEG").unlink()
    report = verify("tinyimagenet", data_dir=tmp_path)[0]
    assert (report.state, report.expected, report.found) == ("incomplete", "12 images", "11 images")
    for name in ("n01_2", "one_too_many"):
        (tmp_path / f"tiny-imagenet-200/train/n01/images/{name}.JPEG").touch()
    report = verify("tinyimagenet", data_dir=tmp_path)[0]
    assert (report.state, report.found) == ("damaged", "13 images")
    assert not server.requests


@pytest.mark.usefixtures("sources")
def test_the_archive_of_images_is_fetched(tmp_path: Path) -> None:
    assert states(fetch("tinyimagenet", data_dir=tmp_path)) == {"tiny-imagenet-200.zip": "present"}


@pytest.mark.usefixtures("sources")
def test_imagenet_cannot_be_fetched_but_verified(tmp_path: Path) -> None:
    patterns = {"train/*/*.JPEG": "missing", "val/*/*.JPEG": "missing"}
    assert states(verify("imagenet", data_dir=tmp_path)) == patterns
    with pytest.raises(ValueError, match=r'data set "imagenet": its images are missing .*looked in') as caught:
        fetch("imagenet", data_dir=tmp_path)
    assert "train/*/*.JPEG  6 images" in str(caught.value)
    assert str(caught.value).endswith("Register for it.")
    members = imagenet_members()
    unpack(tmp_path / "imagenet", {name: members[name] for name in members if name.startswith("train/")})
    assert states(verify("imagenet", data_dir=tmp_path)) == patterns | {"train/*/*.JPEG": "present"}
    unpack(tmp_path / "imagenet", members)
    assert set(states(fetch("imagenet", data_dir=tmp_path)).values()) == {"present"}


@pytest.mark.parametrize("call", [fetch, verify])
def test_an_unknown_name_is_refused(call) -> None:
    with pytest.raises(ValueError, match=r'unknown data set "cifar10".*did you mean "cifar-10"'):
        call("cifar10")


@pytest.mark.parametrize("call", [fetch, verify])
def test_a_data_dir_that_is_no_folder_is_refused(call, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data_dir must be an existing folder"):
        call("cifar-10", data_dir=tmp_path / "nowhere")


def test_verify_says_that_the_hub_has_no_checksums() -> None:
    with pytest.raises(ValueError, match=r'^"hub:owner/name": the hub publishes no checksums'):
        verify("hub:owner/name")

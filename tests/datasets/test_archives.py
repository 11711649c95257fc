import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from prunemark.datasets.archives import folder_tree, read_tar_gz, zip_tree
from tests.datasets.archives import tar_gz, unpack, zipped

MEMBERS = {"top/a.bin": b"aaaa" * 100, "top/b.txt": "größe".encode(), "top/sub/c.bin": b""}
CLIMBING = ["../evil.bin", "/etc/evil.bin", "top/../../evil.bin", "..\\evil.bin", "C:/evil.bin"]


def put(folder: Path, content: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(content)
    return path


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def test_members_of_a_tar_archive_are_read_where_they_lie(tmp_path: Path) -> None:
    path = put(tmp_path, tar_gz(MEMBERS))
    assert read_tar_gz(path, ["top/a.bin", "top/b.txt"]) == {name: MEMBERS[name] for name in ("top/a.bin", "top/b.txt")}
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]


def test_names_that_begin_with_a_dot_are_the_same(tmp_path: Path) -> None:
    assert read_tar_gz(put(tmp_path, tar_gz({"./top/a": b"a"})), ["top/a"]) == {"top/a": b"a"}


@pytest.mark.parametrize("name", CLIMBING)
def test_a_path_that_climbs_out_of_a_tar_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, tar_gz({**MEMBERS, name: b"evil"}))
    with pytest.raises(ValueError, match="climbs out of the archive"):
        read_tar_gz(path, ["top/a.bin"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar_archive_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = put(tmp_path, tar_gz({"top/a.bin": link("top/a.bin", kind)}))
    with pytest.raises(ValueError, match=r"top/a\.bin is a link or a device"):
        read_tar_gz(path, ["top/a.bin"])


def test_a_file_that_is_twice_in_an_archive_is_refused(tmp_path: Path) -> None:
    # "./top/a.bin" is the name that "top/a.bin" is too.
    path = put(tmp_path, tar_gz({**MEMBERS, "./top/a.bin": b"another"}))
    with pytest.raises(ValueError, match=r"top/a\.bin is there twice"):
        read_tar_gz(path, ["top/a.bin"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.JPEG", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.JPEG", b"two")
    with pytest.raises(ValueError, match=r"a\.JPEG is there twice"), zip_tree(path):
        pass


@pytest.mark.parametrize("cut", [0, 5, 40, -60, -9])
def test_a_truncated_tar_archive_is_refused(tmp_path: Path, cut: int) -> None:
    path = put(tmp_path, tar_gz({"a": bytes(range(256)) * 400})[:cut])
    with pytest.raises(
        ValueError, match=rf"^{path}: (not a gzip-compressed tar archive, or a truncated one|a missing)"
    ):
        read_tar_gz(path, ["a"])


def test_what_is_no_tar_archive_is_refused(tmp_path: Path) -> None:
    for content in (b"<html>not found</html>", zipped(MEMBERS)):
        with pytest.raises(ValueError, match="not a gzip-compressed tar archive"):
            read_tar_gz(put(tmp_path, content), ["a"])


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"archive: top/x, top/y missing in the archive"):
        read_tar_gz(put(tmp_path, tar_gz(MEMBERS)), ["top/y", "top/a.bin", "top/x"])


def test_a_zip_archive_and_the_folder_it_came_from_are_the_same_tree(tmp_path: Path) -> None:
    path = put(tmp_path, zipped(MEMBERS))
    folder = folder_tree(unpack(tmp_path / "folder", MEMBERS))
    with zip_tree(path) as tree:
        assert tree.names == folder.names == tuple(sorted(MEMBERS))
        for name, content in MEMBERS.items():
            assert tree.read(name) == folder.read(name) == content
        below = tree.below("top")
        assert below.names == ("a.bin", "b.txt", "sub/c.bin")
        assert below.text("b.txt") == "größe"
        assert below.origin == f"{path}/top"


def test_a_text_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    tree = folder_tree(unpack(tmp_path, {"a.txt": b"\xff\xfe\xff"}))
    with pytest.raises(ValueError, match=rf"^{tmp_path}: b\.txt is missing$"):
        tree.text("b.txt")
    with pytest.raises(ValueError, match=rf"^{tmp_path}: a\.txt is not text"):
        tree.text("a.txt")
    with pytest.raises(ValueError, match=r"gone\.txt: cannot be read"):
        tree.read("gone.txt")


@pytest.mark.parametrize("name", CLIMBING)
def test_a_path_that_climbs_out_of_a_zip_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, zipped({**MEMBERS, name: b"evil"}))
    with pytest.raises(ValueError, match="climbs out of the archive"), zip_tree(path):
        pass


def test_a_link_in_a_zip_archive_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    member = zipfile.ZipInfo("top/link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(ValueError, match="top/link is a link"), zip_tree(put(tmp_path, stream.getvalue())):
        pass


@pytest.mark.parametrize("content", [b"", zipped(MEMBERS)[:-30], tar_gz(MEMBERS)])
def test_what_is_no_zip_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="not a zip archive, or a truncated one"), zip_tree(put(tmp_path, content)):
        pass


def test_a_damaged_member_of_a_zip_archive_is_named(tmp_path: Path) -> None:
    content = zipped(MEMBERS)
    path = put(tmp_path, content.replace(b"aaaa", b"aaab", 1))
    with zip_tree(path) as tree, pytest.raises(ValueError, match=r"top/a\.bin is damaged"):
        tree.read("top/a.bin")

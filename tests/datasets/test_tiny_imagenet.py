import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from prunemark.datasets import DATASETS, tiny_imagenet
from prunemark.datasets.decoding import pixels_with_pillow
from prunemark.datasets.in_memory import Dataset
from prunemark.datasets.lazy import PixelInputs
from tests.datasets.archives import encoded, picture, tiny_imagenet_members, tiny_imagenet_source, unpack, zipped
from tests.datasets.conftest import FileServer
from tests.datasets.idx_files import write

ZIP = "tiny-imagenet-200.zip"
TOP = "tiny-imagenet-200/"


def load_zip(folder: Path, members: dict[str, bytes]) -> Dataset:
    content = zipped(members)
    write(folder / "tinyimagenet", {ZIP: content})
    return tiny_imagenet.load(tiny_imagenet_source(content), data_dir=folder)


def load_folder(folder: Path, members: dict[str, bytes]) -> Dataset:
    return tiny_imagenet.load(tiny_imagenet_source(b"none"), data_dir=unpack(folder, members))


@pytest.fixture(params=[load_zip, load_folder])
def load(request: pytest.FixtureRequest):
    return request.param


def test_the_official_layout_becomes_a_data_set(tmp_path: Path, load) -> None:
    members = tiny_imagenet_members()
    data = load(tmp_path, members)
    assert data.name == "tinyimagenet"
    assert data.class_names == ("goldfish", "bullfrog", "tailed frog")
    assert data.input_shape == (3, 64, 64)
    assert data.train.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.test.targets.tolist() == [2, 0, 1, 1, 0]
    names = [f"{TOP}train/n0{c}/images/n0{c}_{i}.JPEG" for c in (1, 2, 3) for i in range(4)]
    for split, files in ((data.train, names), (data.test, [f"{TOP}val/images/val_{i}.JPEG" for i in range(5)])):
        assert isinstance(split.inputs, PixelInputs)
        decoded = np.stack([pixels_with_pillow(members[name], origin=name) for name in files])
        np.testing.assert_array_equal(split.inputs.pixels.numpy(), decoded)
    values = data.train.inputs[:]
    assert values.mean((0, 2, 3)).abs().max() < 1e-5
    assert (values.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_pictures_come_out_as_they_went_in(tmp_path: Path) -> None:
    inputs = load_zip(tmp_path, tiny_imagenet_members()).train.inputs
    assert isinstance(inputs, PixelInputs)
    assert np.abs(inputs.pixels[5].numpy().astype(int) - picture(11)).mean() < 4
    grey = inputs.pixels[4].numpy().astype(int)
    assert (grey == grey[..., :1]).all()
    assert np.abs(grey[..., 0] - picture(10, grey=True)).mean() < 2


def test_images_are_decoded_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = tiny_imagenet_members()
    first = load_zip(tmp_path, members)
    monkeypatch.setitem(sys.modules, "PIL", None)
    source = tiny_imagenet_source(zipped(members))
    (tmp_path / "tinyimagenet" / ZIP).unlink()
    again = tiny_imagenet.load(source)
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.train.inputs[:], first.train.inputs[:])
    assert len(list((cache / "tinyimagenet").iterdir())) == 1


def test_folder_and_archive_are_the_same_data(tmp_path: Path) -> None:
    members = tiny_imagenet_members()
    assert load_zip(tmp_path / "a", members).fingerprint == load_folder(tmp_path / "b", members).fingerprint


def test_a_changed_folder_is_decoded_anew(tmp_path: Path) -> None:
    members = tiny_imagenet_members()
    before = load_folder(tmp_path, members)
    after = load_folder(tmp_path, members | {f"{TOP}train/n01/images/n01_1.JPEG": encoded(picture(77))})
    assert before.fingerprint != after.fingerprint


def test_the_archive_is_downloaded(server: FileServer) -> None:
    content = zipped(tiny_imagenet_members())
    server.files[ZIP] = content
    data = tiny_imagenet.load(tiny_imagenet_source(content, server.url))
    assert len(data.train) == 12


def test_a_damaged_archive_is_refused_with_both_checksums(tmp_path: Path) -> None:
    content = zipped(tiny_imagenet_members())
    write(tmp_path, {ZIP: content[:-1]})
    with pytest.raises(ValueError, match=rf"^{tmp_path / ZIP}: wrong checksum: expected SHA-256 .*, found SHA-256 "):
        tiny_imagenet.load(tiny_imagenet_source(content), data_dir=tmp_path)


def test_a_missing_class_folder_is_named(tmp_path: Path, load) -> None:
    members = {name: content for name, content in tiny_imagenet_members().items() if "train/n02/" not in name}
    with pytest.raises(ValueError, match=r"tiny-imagenet-200: train/n02/images is missing; wnids\.txt lists 3 classes"):
        load(tmp_path, members)


def test_a_class_that_is_not_listed_is_refused(tmp_path: Path, load) -> None:
    members = tiny_imagenet_members()
    members[f"{TOP}train/n09/images/n09_0.JPEG"] = encoded(picture(0))
    with pytest.raises(ValueError, match=r"train/n09 is not a class of wnids\.txt"):
        load(tmp_path, members)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"val_0.JPEG\tn09\t0\t0\t1\t1\n", r'val_annotations\.txt, line 6: "n09" is not a class of wnids\.txt'),
        (b"val_0.JPEG\n", r'val_annotations\.txt, line 6: "" is not a class'),
        (b"val_9.JPEG\tn01\t0\t0\t1\t1\n", r"val/images/val_9\.JPEG is missing; val/val_annotations\.txt lists it"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(tmp_path: Path, load, line: bytes, message: str) -> None:
    members = tiny_imagenet_members()
    members[f"{TOP}val/val_annotations.txt"] += line
    with pytest.raises(ValueError, match=message):
        load(tmp_path, members)


def test_an_image_without_annotation_is_refused(tmp_path: Path, load) -> None:
    members = tiny_imagenet_members() | {f"{TOP}val/images/val_9.JPEG": encoded(picture(0))}
    with pytest.raises(ValueError, match=r"val/images/val_9\.JPEG has no line in val/val_annotations\.txt"):
        load(tmp_path, members)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_missing_list_is_named(tmp_path: Path, load, name: str) -> None:
    members = tiny_imagenet_members()
    del members[f"{TOP}{name}"]
    with pytest.raises(ValueError, match=rf"tiny-imagenet-200: {name} is missing"):
        load(tmp_path, members)


def test_a_class_without_a_name_goes_by_its_number(tmp_path: Path, load) -> None:
    data = load(tmp_path, tiny_imagenet_members() | {f"{TOP}words.txt": b"n01\nn02\tsecond, other\n"})
    assert data.class_names[:2] == ("n01", "second")


def test_a_list_of_no_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wnids\.txt lists no class"):
        load_zip(tmp_path, tiny_imagenet_members() | {f"{TOP}wnids.txt": b"\n"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>not found</html>", "not an image, or a damaged one"),
        (encoded(picture(0))[:200], "not an image, or a damaged one"),
        (encoded(picture(0, 32, 64)), r"expected an image of shape \(64, 64, 3\), found \(32, 64, 3\)"),
    ],
    ids=["wrong magic", "truncated", "another size"],
)
def test_a_damaged_image_is_named(tmp_path: Path, load, cache: Path, content: bytes, message: str) -> None:
    name = "train/n03/images/n03_2.JPEG"
    with pytest.raises(ValueError, match=rf"{name}: {message}"):
        load(tmp_path, tiny_imagenet_members() | {f"{TOP}{name}": content})
    assert list((cache / "tinyimagenet").iterdir()) == []


def test_a_path_that_climbs_out_of_the_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'the path "tiny-imagenet-200/\.\./\.\./evil" climbs out of the archive'):
        load_zip(tmp_path, tiny_imagenet_members() | {f"{TOP}../../evil": b"evil"})


def test_without_pillow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = tiny_imagenet_members()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match=r'needs Pillow: pip install "prunemark\[vision\]"'):
        load_zip(tmp_path, members)


def test_the_papers_normalisation_is_that_of_its_code(tmp_path: Path) -> None:
    content = zipped(tiny_imagenet_members())
    write(tmp_path / "tinyimagenet", {ZIP: content})
    constants = DATASETS["tinyimagenet"].paper_normalisation
    source = tiny_imagenet_source(content)
    own, paper = (tiny_imagenet.load(source, data_dir=tmp_path, normalisation=given) for given in (None, constants))
    assert isinstance(own.test.inputs, PixelInputs)
    # transforms.Normalize([-0.021, -0.0354, -0.0376], [1.21, 1.20, 1.25]) of pixels in 0 to 1.
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in ([-0.021, -0.0354, -0.0376], [1.21, 1.20, 1.25]))
    expected = (own.test.inputs.pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(paper.test.inputs[:], expected)
    assert not torch.allclose(own.test.inputs[:], expected, atol=0.1)

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunemark.datasets import pixel_cache
from prunemark.datasets.lazy import PixelInputs
from prunemark.datasets.pixel_cache import UndecodedImages, is_stored, load, store

PIXELS = {f"{number}": np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8) for number in range(9)}


def images() -> UndecodedImages:
    return UndecodedImages(
        splits={
            "train": (tuple("421035"), np.array([0, 1, 0, 1, 0, 1])),
            "test": (tuple("768"), np.array([1, 1, 0])),
        },
        class_names=("cat", "dog"),
        shape=(4, 5, 3),
        decode=PIXELS.__getitem__,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tiny" / "decoded"


def test_what_is_stored_is_what_was_decoded(folder: Path) -> None:
    assert not is_stored(folder)
    store("tiny", folder, images())
    assert is_stored(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["decoded"]
    data = load("tiny", folder)
    assert (data.name, data.class_names, data.input_shape) == ("tiny", ("cat", "dog"), (3, 4, 5))
    train = np.stack([PIXELS[name] for name in "421035"])
    for split, names in ((data.train, "421035"), (data.test, "768")):
        assert isinstance(split.inputs, PixelInputs)
        np.testing.assert_array_equal(split.inputs.pixels.numpy(), np.stack([PIXELS[name] for name in names]))
        expected = (np.stack([PIXELS[name] for name in names]) - train.mean((0, 1, 2))) / train.std((0, 1, 2))
        np.testing.assert_allclose(split.inputs[:].permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)
    assert data.train.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.test.targets.tolist() == [1, 1, 0]


def test_counting_in_parts_gives_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store("tiny", folder, images())
    monkeypatch.setattr(pixel_cache, "_COUNTED_AT_ONCE", 4)
    store("tiny", folder.with_name("parts"), images())
    first, second = (json.loads((path / "about.json").read_text()) for path in (folder, folder.with_name("parts")))
    assert first == second


def mappings(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]


def private_kilobytes(folder: Path) -> int:
    """Memory of the files mapped from a folder that this process does not share with the page cache."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = str(folder) in line
        elif inside and line.startswith("Private_Dirty:"):
            total += int(line.split()[1])
    return total


def test_pixels_are_mapped_and_shared_and_not_read_into_memory(folder: Path) -> None:
    store("tiny", folder, images())
    inputs = load("tiny", folder).train.inputs
    assert isinstance(inputs, PixelInputs)
    assert inputs[:].isfinite().all()
    assert any(line.endswith("train-pixels.npy") for line in mappings(folder))
    # Pages that no process has changed are those of the page cache, of which there is one.
    assert private_kilobytes(folder) == 0
    inputs.pixels[0, 0, 0, 0] += 1
    assert private_kilobytes(folder) > 0


def test_a_change_in_memory_does_not_reach_the_file(folder: Path) -> None:
    store("tiny", folder, images())
    inputs = load("tiny", folder).train.inputs
    assert isinstance(inputs, PixelInputs)
    inputs.pixels.zero_()
    again = load("tiny", folder).train.inputs
    assert isinstance(again, PixelInputs)
    assert again.pixels.any()


def test_the_fingerprint_follows_the_pixels_and_the_labels(folder: Path) -> None:
    first = images()
    other = dict(first.splits) | {"test": (first.splits["test"][0], np.array([1, 0, 0]))}
    altered = PIXELS | {"8": PIXELS["8"] ^ np.uint8(1)}
    prints: list[str] = []
    for number, variant in enumerate([first, replace(first, splits=other), replace(first, decode=altered.__getitem__)]):
        store("tiny", folder.with_name(f"{number}"), variant)
        prints.append(load("tiny", folder.with_name(f"{number}")).fingerprint)
    assert len(set(prints)) == 3


def test_an_image_of_another_shape_leaves_nothing_behind(folder: Path) -> None:
    wrong = PIXELS | {"6": np.zeros((4, 4, 3), dtype=np.uint8)}
    with pytest.raises(ValueError, match=r"6: expected an image of shape \(4, 5, 3\), found \(4, 4, 3\)"):
        store("tiny", folder, replace(images(), decode=wrong.__getitem__))
    assert list(folder.parent.iterdir()) == []


def test_a_process_that_was_faster_wins(folder: Path) -> None:
    store("tiny", folder, images())
    before = (folder / "about.json").stat().st_mtime_ns
    store("tiny", folder, images())
    assert (folder / "about.json").stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir()] == ["decoded"]


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.parent.parent.mkdir(parents=True)
    folder.parent.write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=rf"^{folder}: the decoded images cannot be stored: "):
        store("tiny", folder, images())


@pytest.mark.parametrize("damage", ["truncated", "empty", "gone", "no json", "a field less", "labels gone"])
def test_damage_is_named_with_what_to_do(folder: Path, damage: str) -> None:
    store("tiny", folder, images())
    file = folder / "train-pixels.npy"
    match damage:
        case "truncated":
            file.write_bytes(file.read_bytes()[:-10])
        case "empty":
            file.write_bytes(b"")
        case "gone":
            file.unlink()
        case "no json":
            (folder / "about.json").write_text("{")
        case "a field less":
            about = json.loads((folder / "about.json").read_text())
            (folder / "about.json").write_text(json.dumps({k: v for k, v in about.items() if k != "mean"}))
        case _:
            (folder / "test-labels.npy").unlink()
    with pytest.raises(ValueError, match=rf"^{folder}: the decoded images are damaged .*Remove the folder"):
        load("tiny", folder)

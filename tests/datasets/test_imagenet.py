import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from prunemark.datasets import Dataset, dataset, imagenet
from prunemark.datasets.decoding import pixels_with_pillow, pixels_with_torchvision
from prunemark.datasets.image_files import ImageFiles
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training.augmentation import ResizedCrop
from prunemark.training.batches import Batches
from tests.datasets.archives import IMAGENET, WNIDS, encoded, imagenet_members, picture, unpack

MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


def with_pillow(content: bytes, *, origin: str) -> Tensor:
    return torch.from_numpy(pixels_with_pillow(content, origin=origin)).permute(2, 0, 1)


def load(folder: Path, members: dict[str, bytes]) -> Dataset:
    return imagenet.load(IMAGENET, data_dir=unpack(folder, members), decode=with_pillow)


def bytes_of(values: Tensor) -> np.ndarray:
    return (values * STD.view(-1, 1, 1) + MEAN.view(-1, 1, 1)).round().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("subfolder", ["imagenet", "."])
def test_folders_become_a_data_set(tmp_path: Path, subfolder: str) -> None:
    unpack(tmp_path / subfolder, imagenet_members())
    data = imagenet.load(IMAGENET, data_dir=tmp_path, decode=with_pillow)
    assert data.name == "imagenet"
    assert data.class_names == tuple(sorted(WNIDS))
    assert data.input_shape == (3, 224, 224)
    assert data.train.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.targets.tolist() == [0, 1, 2]
    batch = data.train.inputs[torch.tensor([5, 0])]
    assert (batch.dtype, tuple(batch.shape)) == (torch.float32, (2, 3, 224, 224))


def test_an_image_of_the_right_size_is_only_cropped(tmp_path: Path) -> None:
    image = picture(3, 256, 300)
    inputs = load(tmp_path, imagenet_members() | {"val/n01/val_1.JPEG": encoded(image, "PNG")}).test.inputs
    np.testing.assert_array_equal(bytes_of(inputs[0]), image[16:240, 38:262])


@pytest.mark.parametrize(("height", "width"), [(512, 700), (700, 512), (120, 100)])
def test_the_shorter_side_is_scaled(tmp_path: Path, height: int, width: int) -> None:
    image = picture(4, height, width)
    inputs = load(tmp_path, imagenet_members() | {"val/n01/val_1.JPEG": encoded(image, "PNG")}).test.inputs
    scaled = (width * 256 // min(height, width), height * 256 // min(height, width))
    expected = np.array(Image.fromarray(image).resize(scaled, Image.Resampling.BILINEAR))
    top, left = (round((side - 224) / 2) for side in expected.shape[:2])
    assert np.abs(bytes_of(inputs[0]) - expected[top : top + 224, left : left + 224]).max() <= 1


def test_training_images_that_are_scored_are_cut_as_test_images_are(tmp_path: Path) -> None:
    image = picture(5, 300, 256)
    inputs = load(tmp_path, imagenet_members() | {"train/n01/n01_0.JPEG": encoded(image, "PNG")}).train.inputs
    np.testing.assert_array_equal(bytes_of(inputs[0]), image[38:262, 16:240])


def batches(data: Dataset, *augment: str, seed: int = 0) -> Batches:
    recipe = Recipe(epochs=2, batch_size=4, augment=augment)
    return Batches(data.train, recipe, seed=seed, device=torch.device("cpu"), memory_format=torch.contiguous_format)


def epoch_of(data: Dataset, epoch: int, *augment: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An epoch's images, and the numbers of the examples that they are."""
    running = batches(data, *augment, seed=seed)
    running.begin(epoch)
    images = torch.cat([running[position][0] for position in range(running.per_epoch)])
    return images, torch.randperm(6, generator=generator(seed, "order", epoch))


def test_in_training_a_random_part_of_the_whole_image_is_shown(tmp_path: Path) -> None:
    sizes = [(500, 375), (375, 500), (120, 100), (260, 700), (300, 300), (224, 224)]
    originals = [picture(30 + number, *size) for number, size in enumerate(sizes)]
    names = [f"train/n0{1 + number // 2}/n0{1 + number // 2}_{number % 2}.JPEG" for number in range(6)]
    members = {name: encoded(image, "PNG") for name, image in zip(names, originals, strict=True)}
    data = load(tmp_path, imagenet_members() | members)
    images, order = epoch_of(data, 1, "paper-resized-crop")
    seeds = torch.randint(2**63 - 1, (6, 1), generator=generator(0, "augment", 1))
    crop = ResizedCrop(area=(0.1, 1.0), aspect=(0.8, 1.25))
    for shown, number in zip(images, order.tolist(), strict=True):
        top, left, tall, wide = crop.draw_one(*sizes[number], random.Random(int(seeds[number])))
        part = Image.fromarray(originals[number][top : top + tall, left : left + wide])
        expected = np.array(part.resize((224, 224), Image.Resampling.BILINEAR))
        assert np.abs(bytes_of(shown) - expected).max() <= 1


def test_parts_differ_between_epochs_and_seeds_and_do_not_depend_on_decoding_ahead(tmp_path: Path) -> None:
    data = load(tmp_path, imagenet_members())
    augment = ("paper-resized-crop", "flip")
    first, order = epoch_of(data, 0, *augment)
    assert torch.equal(epoch_of(data, 0, *augment)[0], first)
    again, other_order = epoch_of(data, 1, *augment)
    assert not any(torch.equal(again[other_order == number][0], first[order == number][0]) for number in range(6))
    running = batches(data, *augment)
    running.begin(0)
    assert torch.equal(running[1][0], first[4:]), "the second batch by itself, which nothing decoded ahead"


def test_a_resized_crop_of_whole_images_comes_before_what_moves_their_pixels(tmp_path: Path) -> None:
    data = load(tmp_path, imagenet_members())
    with pytest.raises(ValueError, match='"resized-crop" cuts whole images, so it cannot come after "crop"'):
        batches(data, "flip", "crop", "resized-crop")
    assert batches(data, "flip", "resized-crop").per_epoch == 2


def test_the_next_batch_is_decoded_ahead_and_once(tmp_path: Path) -> None:
    decoded: Counter[str] = Counter()

    def counting(content: bytes, *, origin: str) -> Tensor:
        decoded[Path(origin).name] += 1
        return with_pillow(content, origin=origin)

    unpack(tmp_path, imagenet_members())
    inputs = imagenet.load(IMAGENET, data_dir=tmp_path, decode=counting).train.inputs
    assert isinstance(inputs, ImageFiles)
    batch = torch.tensor([4, 1])
    expected = inputs[batch]
    decoded.clear()
    inputs.prefetch(batch)
    assert torch.equal(inputs[batch], expected)
    assert sorted(decoded.values()) == [1, 1]
    # Of another batch than the one that was prefetched, nothing is mixed up.
    inputs.prefetch(torch.tensor([0, 2]))
    assert torch.equal(inputs[batch], expected)
    inputs.prefetch(torch.tensor([3]))
    inputs.prefetch(batch)
    assert torch.equal(inputs[batch], expected)
    decoded.clear()
    whole = torch.cat(list(inputs.split(4)))
    assert torch.equal(whole, inputs[:])
    assert set(decoded.values()) == {2}


def test_batches_come_in_the_layout_that_was_asked_for(tmp_path: Path) -> None:
    inputs = load(tmp_path, imagenet_members()).train.inputs
    moved = inputs.to("cpu", memory_format=torch.channels_last)
    batch = moved[torch.tensor([0, 3])]
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, inputs[torch.tensor([0, 3])])


def test_a_class_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    members = imagenet_members()
    for split, other in (("train", "val"), ("val", "train")):
        fewer = {name: content for name, content in members.items() if f"{split}/n02/" not in name}
        folder = tmp_path / split
        with pytest.raises(
            ValueError, match=rf"^{folder / split / 'n02'}: the folder of this class is missing; {other}/"
        ):
            load(folder, fewer)


def test_folders_that_are_missing_or_empty_are_named(tmp_path: Path) -> None:
    only_train = {name: content for name, content in imagenet_members().items() if name.startswith("train/")}
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'a' / 'val'}: the folder is missing"):
        load(tmp_path / "a", only_train)
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'b' / 'train'}: expected a folder of images for each class"):
        load(tmp_path / "b", {"train/stray.JPEG": b"", "val/stray.JPEG": b""})
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'c' / 'val' / 'n09'}: expected images .*, found none"):
        load(tmp_path / "c", imagenet_members() | {"train/n09/0.JPEG": b"", "val/n09/readme.txt": b""})


def test_without_the_data_the_error_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'data set "imagenet": train/ and val/ are missing') as caught:
        imagenet.load(IMAGENET, data_dir=tmp_path, decode=with_pillow)
    message = str(caught.value)
    assert f"looked in {tmp_path / 'imagenet'}, {tmp_path}" in message
    assert "Put these files into DIR/imagenet and give DIR as data_dir or in PRUNEMARK_DATA:" in message
    assert "train/*/*.JPEG  6 images" in message
    assert message.endswith("Register for it.")


def test_a_damaged_image_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    data = load(tmp_path, imagenet_members() | {"train/n02/n02_1.JPEG": b"<html>"})
    assert data.train.inputs[torch.tensor([0])].isfinite().all()
    with pytest.raises(ValueError, match=rf"^{tmp_path}/train/n02/n02_1\.JPEG: not an image, or a damaged one"):
        data.train.inputs[torch.tensor([3])]
    (tmp_path / "train/n01/n01_0.JPEG").unlink()
    with pytest.raises(ValueError, match=rf"^{tmp_path}/train/n01/n01_0\.JPEG: cannot be read"):
        data.train.inputs[0]


def test_the_fingerprint_follows_names_and_sizes(tmp_path: Path) -> None:
    members = imagenet_members()
    renamed = {name.replace("n01_1", "n01_7"): content for name, content in members.items()}
    longer = members | {"val/n01/val_1.JPEG": members["val/n01/val_1.JPEG"] + b"\0"}
    prints = [load(tmp_path / f"{i}", variant).fingerprint for i, variant in enumerate([members, renamed, longer])]
    assert len(set(prints)) == 3
    assert load(tmp_path / "3", members).fingerprint == prints[0]


@pytest.mark.parametrize(("size", "resize"), [(225, 224), (0, 224)])
def test_a_square_that_does_not_fit_is_refused(size: int, resize: int) -> None:
    with pytest.raises(ValueError, match=rf"size must be 1 to {resize} \(resize\), not {size}"):
        ImageFiles([], mean=MEAN, std=STD, size=size, resize=resize)


def forget_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unload it as if it had not been imported; what a test imports under its name does not outlive the test."""
    for name in {"torchvision", "torchvision.io"} | {name for name in sys.modules if name.startswith("torchvision.")}:
        monkeypatch.setitem(sys.modules, name, sys)
        del sys.modules[name]


def test_without_torchvision_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_torchvision(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ValueError, match=r'needs torchvision, .*torch \d.*: pip install "prunemark\[vision\]"'):
        dataset("imagenet", data_dir=unpack(tmp_path, imagenet_members()))


def stand_in(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(folder, {"torchvision/__init__.py": text.encode(), "torchvision/io.py": b""})
    forget_torchvision(monkeypatch)
    monkeypatch.syspath_prepend(folder)


def test_a_torchvision_of_another_torch_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')", monkeypatch)
    with pytest.raises(
        ValueError, match=r"of the release that fits torch .*\(operator torchvision::nms does not exist"
    ):
        pixels_with_torchvision(b"", origin="here")


def test_torchvision_is_given_the_bytes_and_asked_for_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "", monkeypatch)
    (tmp_path / "torchvision/io.py").write_text(
        "from prunemark.datasets.decoding import pixels_with_pillow\n"
        "import torch\n"
        "def decode_image(content, mode):\n"
        "    assert mode == 'RGB' and content.dtype == torch.uint8\n"
        "    if not len(content): raise RuntimeError('unsupported image')\n"
        "    return torch.from_numpy(pixels_with_pillow(bytes(content.tolist()), origin='')).permute(2, 0, 1)\n"
    )
    image = picture(0, 12, 20)
    decoded = pixels_with_torchvision(encoded(image, "PNG"), origin="here")
    np.testing.assert_array_equal(decoded.permute(1, 2, 0).numpy(), image)
    with pytest.raises(ValueError, match=r"^here: not an image, or a damaged one"):
        pixels_with_torchvision(b"", origin="here")

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prunemark import datasets
from prunemark.datasets import mnist
from tests.datasets.conftest import FileServer
from tests.datasets.idx_files import CLASS_NAMES, idx_bytes, tiny_arrays, tiny_published, tiny_source, write


def test_four_files_become_a_data_set(tmp_path: Path) -> None:
    data = mnist.load(tiny_source(), class_names=CLASS_NAMES, data_dir=write(tmp_path, tiny_published()))
    arrays = tiny_arrays()
    pixels = arrays["train-images.gz"].astype(np.float64)
    assert data.name == "tiny"
    assert data.class_names == CLASS_NAMES
    assert data.input_shape == (1, 5, 4)
    for split, images, labels in (
        (data.train, "train-images.gz", "train-labels.gz"),
        (data.test, "test-images.gz", "test-labels.gz"),
    ):
        expected = (arrays[images].astype(np.float64) - pixels.mean()) / pixels.std()
        np.testing.assert_allclose(split.inputs[:, 0].numpy(), expected, rtol=1e-6, atol=1e-6)
        assert split.targets.tolist() == arrays[labels].tolist()


def test_downloaded_or_from_a_folder_it_is_the_same_data_set(tmp_path: Path, server: FileServer) -> None:
    server.files = tiny_published()
    here = mnist.load(tiny_source(), class_names=CLASS_NAMES, data_dir=write(tmp_path, tiny_published()))
    there = mnist.load(tiny_source(urls=(server.url,)), class_names=CLASS_NAMES)
    assert sum(server.requests.values()) == 4
    assert here.fingerprint == there.fingerprint
    assert torch.equal(here.train.inputs, there.train.inputs)


def test_files_with_the_right_checksum_and_unsound_content_are_refused(tmp_path: Path) -> None:
    content = idx_bytes(np.array([0, 1, 9] * 4, dtype=np.uint8))
    published = {**tiny_published(), "train-labels.gz": gzip.compress(content)}
    sound = tiny_source()
    unsound = replace(
        sound,
        files=tuple(
            replace(file, content_sha256=hashlib.sha256(content).hexdigest())
            if file.name == "train-labels.gz"
            else file
            for file in sound.files
        ),
    )
    with pytest.raises(ValueError, match=r"train-labels\.gz: expected labels 0 to 2, found 9 at position 2"):
        mnist.load(unsound, class_names=CLASS_NAMES, data_dir=write(tmp_path, published))


# Zalando's MD5 of each published file, and the second that its gzip header names.
PUBLISHED_FASHION_MNIST = {
    "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 1504176606),
    "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 1504176606),
    "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 1504176627),
    "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 1504176627),
}


@pytest.mark.soak
def test_debians_files_hold_what_was_published() -> None:
    # Debian's files lack the name and have another time in the gzip header. With both put back, the published
    # checksums come out, which proves that `content_sha256` is that of the published files.
    (folder,) = mnist.FASHION_MNIST.system_folders
    for file in mnist.FASHION_MNIST.files:
        md5, second = PUBLISHED_FASHION_MNIST[file.name]
        header = b"\x1f\x8b\x08\x08" + second.to_bytes(4, "little") + b"\x00\x03"
        deflated = (folder / file.name).read_bytes()[10:]
        published = header + file.name.removesuffix(".gz").encode() + b"\0" + deflated
        assert hashlib.md5(published).hexdigest() == md5
        assert hashlib.sha256(published).hexdigest() == file.sha256
        assert hashlib.sha256(gzip.decompress(published)).hexdigest() == file.content_sha256


@pytest.mark.soak
def test_fashion_mnist_from_debians_package() -> None:
    data = datasets.dataset("fashion-mnist")
    entry = datasets.DATASETS["fashion-mnist"]
    assert (len(data.train), len(data.test)) == (entry.train_examples, entry.test_examples)
    assert data.input_shape == entry.input_shape
    assert data.classes == len(data.class_names) == entry.classes
    assert data.train.targets.bincount().tolist() == [6000] * 10
    assert data.test.targets.bincount().tolist() == [1000] * 10
    assert data.fingerprint == "b08a92747f3a5da61422294f84368c782ed2a3e564a3956611e6a9bfa537d755"
    # Of pixels scaled to 0..1, the mean and standard deviation that are quoted everywhere: 0.2860, 0.3530.
    values = data.train.inputs[:1000].unique().double()
    std = 1 / (255 * (values[1] - values[0]))
    assert float(std) == pytest.approx(0.3530, abs=5e-5)
    assert float(-values[0] * std) == pytest.approx(0.2860, abs=5e-5)
    # The first training image is an ankle boot, the first two test images an ankle boot and a pullover.
    assert data.class_names[int(data.train.targets[0])] == "ankle boot"
    assert [data.class_names[int(target)] for target in data.test.targets[:2]] == ["ankle boot", "pullover"]

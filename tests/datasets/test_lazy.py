import numpy as np
import pytest
import torch
from torch import Tensor

from prunemark.datasets import Dataset, Split
from prunemark.datasets.in_memory import from_images, from_pixels
from prunemark.datasets.lazy import LazyInputs, PixelInputs
from prunemark.networks import network
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training import train

NAMES = ("cat", "dog", "owl")
DRAW = np.random.default_rng(0)
TRAIN = DRAW.integers(0, 256, (30, 3, 8, 8), dtype=np.uint8), np.arange(30) % 3
TEST = DRAW.integers(0, 256, (9, 3, 8, 8), dtype=np.uint8), np.arange(9) % 3
MEAN, STD = torch.tensor([127.0, 120.0, 130.5]), torch.tensor([70.0, 75.5, 80.0])


def pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 2, 3, 1).contiguous()


def lazy_data() -> Dataset:
    splits = [(pixels(images), torch.from_numpy(labels)) for images, labels in (TRAIN, TEST)]
    return from_pixels("zoo", train=splits[0], test=splits[1], mean=MEAN, std=STD, class_names=NAMES, fingerprint="f")


def inputs() -> PixelInputs:
    return PixelInputs(pixels(TRAIN[0]), mean=MEAN, std=STD)


def whole() -> Tensor:
    return (torch.from_numpy(TRAIN[0]).float() - MEAN.view(-1, 1, 1)) / STD.view(-1, 1, 1)


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([3, 0, 29, 3]),
        torch.tensor([-1, -30]),
        torch.arange(30) % 4 == 1,
        torch.tensor([], dtype=torch.int64),
        slice(None),
        slice(5, None, 7),
        4,
        -2,
    ],
    ids=str,
)
def test_indexing_is_that_of_a_tensor(index: Tensor | slice | int) -> None:
    got = inputs()[index]
    assert got.dtype == torch.float32
    assert torch.equal(got, whole()[index])


def test_a_position_out_of_range_is_refused() -> None:
    for index in (30, torch.tensor([0, 30])):
        with pytest.raises(IndexError):
            inputs()[index]


def test_shape_length_and_batches_are_those_of_a_tensor() -> None:
    lazy = inputs()
    assert lazy.shape == whole().shape
    assert len(lazy) == 30
    for size in (7, 30, 40):
        batches = list(lazy.split(size))
        for got, expected in zip(batches, whole().split(size), strict=True):
            assert torch.equal(got, expected)
    assert torch.equal(torch.stack(list(lazy)), whole())


def test_black_is_what_a_byte_of_zero_becomes() -> None:
    lazy = PixelInputs(torch.zeros(1, 2, 2, 3, dtype=torch.uint8), mean=MEAN, std=STD)
    assert torch.allclose(lazy.black, lazy[0][:, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_batches_come_in_the_layout_that_was_asked_for(layout: torch.memory_format) -> None:
    lazy = inputs().to("cpu", memory_format=layout)
    assert isinstance(lazy, LazyInputs)
    batch = lazy[torch.tensor([4, 2])]
    assert batch.is_contiguous(memory_format=layout)
    assert torch.equal(batch, whole()[[4, 2]])
    assert inputs().to("cpu")[:].is_contiguous()


def test_bytes_move_to_the_device_as_bytes() -> None:
    lazy = inputs().to("meta")
    assert lazy.device.type == lazy.mean.device.type == "meta"
    batch = lazy[torch.tensor([1, 2])]
    assert (batch.device.type, batch.dtype, tuple(batch.shape)) == ("meta", torch.float32, (2, 3, 8, 8))


def test_the_bytes_are_not_changed() -> None:
    lazy = inputs()
    lazy[:].zero_()
    assert torch.equal(lazy[:], whole())


@pytest.mark.parametrize(
    ("bad", "mean", "std", "message"),
    [
        (torch.zeros(2, 3, 3, 3), MEAN, STD, r"pixels must be uint8 \(N, H, W, C\), not torch.float32"),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), MEAN, STD, r"pixels must be uint8 .*\(2, 3, 3\)"),
        (torch.zeros(2, 4, 4, 1, dtype=torch.uint8), MEAN, STD, "mean and std must have 1 values"),
        (pixels(TRAIN[0]), MEAN, torch.tensor([1.0, 0.0, 1.0]), "std values above 0"),
        (pixels(TRAIN[0]), MEAN, torch.tensor([1.0, float("nan"), 1.0]), "std values above 0"),
    ],
)
def test_what_cannot_be_normalised_is_refused(bad: Tensor, mean: Tensor, std: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelInputs(bad, mean=mean, std=std)


def test_the_values_are_those_of_a_data_set_in_memory() -> None:
    (images, labels), (test_images, test_labels) = TRAIN, TEST
    floats = from_images("zoo", train=(images, labels), test=(test_images, test_labels), class_names=NAMES)
    mean, std = (torch.from_numpy(getattr(images.astype(np.float64), name)((0, 2, 3))) for name in ("mean", "std"))
    lazy = PixelInputs(pixels(test_images), mean=mean, std=std)
    torch.testing.assert_close(lazy[:], floats.test.inputs[:], rtol=1e-6, atol=1e-6)


def test_a_split_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="a target for each of 30 inputs, not 29"):
        Split(inputs=inputs(), targets=torch.zeros(29, dtype=torch.int64))


def test_a_lazy_data_set_draws_the_sample_that_a_tensor_draws() -> None:
    data = lazy_data()
    assert data.input_shape == (3, 8, 8)
    drawn, targets = data.balanced_sample(2, generator(0, "examples"))
    there = Dataset(
        name="zoo",
        train=Split(inputs=whole(), targets=data.train.targets),
        test=Split(inputs=data.test.inputs[:], targets=data.test.targets),
        class_names=NAMES,
        fingerprint="f",
    )
    expected, expected_targets = there.balanced_sample(2, generator(0, "examples"))
    assert torch.equal(drawn, expected)
    assert torch.equal(targets, expected_targets)


def test_training_on_lazy_inputs_is_training_on_the_same_values_in_memory() -> None:
    data = lazy_data()
    recipe = Recipe(epochs=2, batch_size=8, lr=0.05, augment=("flip",))
    ends: list[tuple[dict[str, Tensor], float, float]] = []
    for train_split, test_split in (
        (data.train, data.test),
        *[(Split(inputs=s.inputs[:], targets=s.targets) for s in (data.train, data.test))],
    ):
        model = network("resnet-8", input_shape=(3, 8, 8), classes=3, seed=0)
        trained = train(model, train_split, recipe, seed=0, test=test_split)
        ends.append((trained.checkpoint.model, trained.test_accuracy, trained.test_loss))
    (lazily, *lazy_results), (eagerly, *eager_results) = ends
    assert lazy_results == eager_results
    for name, tensor in lazily.items():
        assert torch.equal(tensor, eagerly[name]), name

import numpy as np
import pytest
import torch

from prunemark.datasets import Dataset, Split
from prunemark.datasets.in_memory import from_images
from prunemark.randomness import generator

NAMES = ("cat", "dog", "owl")


def split(targets: list[int], *, height: int = 2) -> Split:
    # Every example holds its own position, so that a sample says where it comes from.
    positions = torch.arange(len(targets), dtype=torch.float32)
    return Split(
        inputs=positions.reshape(-1, 1, 1, 1).expand(-1, 2, height, 3).contiguous(),
        targets=torch.tensor(targets, dtype=torch.int64),
    )


def data(targets: list[int]) -> Dataset:
    return Dataset(name="zoo", train=split(targets), test=split([0]), class_names=NAMES, fingerprint="f")


def test_a_data_set_knows_its_shape_and_classes() -> None:
    zoo = data([0, 1, 2, 2])
    assert (zoo.input_shape, zoo.classes, len(zoo.train)) == ((2, 2, 3), 3, 4)


@pytest.mark.parametrize("per_class", [1, 3, 5])
def test_a_balanced_sample_has_exactly_the_asked_number_of_each_class(per_class: int) -> None:
    zoo = data([0] * 5 + [2] * 40 + [1] * 7)
    inputs, targets = zoo.balanced_sample(per_class, generator(0, "examples"))
    assert targets.bincount().tolist() == [per_class] * 3
    positions = inputs[:, 0, 0, 0].long()
    assert len(positions.unique()) == 3 * per_class
    assert torch.equal(zoo.train.targets[positions], targets)
    assert torch.equal(zoo.train.inputs[positions], inputs)


def test_the_classes_of_a_balanced_sample_take_turns() -> None:
    _, targets = data([2, 1, 0] * 6).balanced_sample(4, generator(0, "examples"))
    assert targets.tolist() == [0, 1, 2] * 4


def test_a_balanced_sample_depends_on_the_generator_alone() -> None:
    zoo = data([0, 1, 2] * 50)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second, other = (zoo.balanced_sample(10, generator(seed, "examples"))[0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_example_is_drawn_equally_often() -> None:
    zoo = data([0, 1, 2] * 4)
    draw = generator(0, "examples")
    counts = torch.zeros(12)
    for _ in range(2000):
        counts[zoo.balanced_sample(2, draw)[0][:, 0, 0, 0].long()] += 1
    # Binomial(2000, 1/2) has standard deviation 22; five of them.
    assert (counts - 1000).abs().max() < 112


def test_too_few_examples_of_a_class_are_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r'class 1 \("dog"\) of "zoo" has 2 training examples; 3 per class'):
        data([0, 0, 0, 1, 1, 2, 2, 2]).balanced_sample(3, generator(0, "examples"))
    with pytest.raises(ValueError, match=r'class 2 \("owl"\) of "zoo" has 0 training examples'):
        data([0, 1]).balanced_sample(1, generator(0, "examples"))


@pytest.mark.parametrize("per_class", [0, -1])
def test_a_sample_of_nothing_is_refused(per_class: int) -> None:
    with pytest.raises(ValueError, match=f"per_class must be at least 1, not {per_class}"):
        data([0, 1, 2]).balanced_sample(per_class, generator(0, "examples"))


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (torch.zeros(2, 1, 1, 1, dtype=torch.float64), torch.tensor([0, 1]), "inputs must be float32"),
        (torch.zeros(2), torch.tensor([0, 1]), r"inputs must be float32 \(N, ...\), .*; not torch.float32 \(2,\)"),
        (torch.zeros(2, 3, 4).long(), torch.tensor([0, 1]), r"or tokens, int64 \(N, T\); not torch.int64 \(2, 3, 4\)"),
        (torch.zeros(2, 1, 1, 1), torch.tensor([0, 1, 2]), r"a target for each of 2 inputs, not 3"),
        (
            torch.zeros(2, 1, 1, 1),
            torch.tensor([0.0, 1.0]),
            r"targets must be int64 .*; not torch.float32 \(2,\)",
        ),
    ],
)
def test_a_split_of_other_types_or_shapes_is_refused(inputs: torch.Tensor, targets: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(inputs=inputs, targets=targets)


def test_a_data_set_that_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match='the train split of "zoo" has targets 0 to 3; with 3 classes'):
        data([0, 3])
    with pytest.raises(ValueError, match='the train split of "zoo" is empty'):
        data([])
    with pytest.raises(ValueError, match=r'splits of "zoo" differ in shape: train \(2, 2, 3\), test \(2, 9, 3\)'):
        Dataset(name="zoo", train=split([0]), test=split([0], height=9), class_names=NAMES, fingerprint="f")


def rgb(seed: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (examples, 3, 6, 5), dtype=np.uint8)
    images[:, 1] //= 4
    return images, np.arange(examples, dtype=np.uint8) % 3


def test_each_channel_is_normalised_by_the_training_split() -> None:
    train, test = rgb(0, 30), rgb(1, 9)
    made = from_images("rgb", train=train, test=test, class_names=NAMES)
    assert made.train.inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-6
    assert (made.train.inputs.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-6
    for channel in range(3):
        pixels = train[0][:, channel].astype(np.float64)
        expected = (test[0][:, channel] - pixels.mean()) / pixels.std()
        np.testing.assert_allclose(made.test.inputs[:, channel].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_normalisation_by_hand() -> None:
    # Pixels 0, 0, 2, 2: mean 1, standard deviation 1.
    images = np.array([0, 0, 2, 2], dtype=np.uint8).reshape(2, 1, 1, 2)
    labels = np.array([0, 1], dtype=np.uint8)
    made = from_images("hand", train=(images, labels), test=(images + 3, labels), class_names=NAMES)
    assert made.train.inputs.flatten().tolist() == [-1.0, -1.0, 1.0, 1.0]
    assert made.test.inputs.flatten().tolist() == [2.0, 2.0, 4.0, 4.0]


def test_a_constant_channel_is_refused() -> None:
    images, labels = rgb(0, 6)
    images[:, 2] = 7
    with pytest.raises(ValueError, match='channel 2 of the training images of "grey" is constant'):
        from_images("grey", train=(images, labels), test=(images, labels), class_names=NAMES)


def test_the_fingerprint_follows_every_part_of_the_content() -> None:
    def fingerprint(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> str:
        return from_images("any", train=train, test=test, class_names=NAMES).fingerprint

    train, test = rgb(0, 30), rgb(1, 9)
    pixel = train[0].copy()
    pixel[3, 2, 1, 0] ^= 1
    label = test[1].copy()
    label[4] = (label[4] + 1) % 3
    turned = [images.reshape(len(images), 3, 5, 6) for images, _ in (train, test)]
    prints = [
        fingerprint(train, test),
        fingerprint((pixel, train[1]), test),
        fingerprint(train, (test[0], label)),
        fingerprint(test, train),
        fingerprint((turned[0], train[1]), (turned[1], test[1])),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(train, test) == prints[0]

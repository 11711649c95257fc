"""Augmentations against their definitions, their distributions, and in training."""

import math
import random

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from prunemark.datasets import LazyInputs, Split
from prunemark.datasets.lazy import PixelInputs
from prunemark.networks import network
from prunemark.randomness import generator
from prunemark.recipes import AUGMENTATIONS, Recipe
from prunemark.training import Augmenter, train
from prunemark.training.augmentation import Crop, Cutout, Flip, ResizedCrop

LAYOUTS = [torch.contiguous_format, torch.channels_last]
EVERY = ("crop", "flip")


def images(count=40, channels=3, height=9, width=7):
    return torch.randn(count, channels, height, width, generator=generator(0, "images"))


def assert_uniform(values, categories):
    """A chi-square test that fails one sound sample in a million, and what is not uniform by a few percent."""
    counts = torch.bincount(values.flatten(), minlength=categories)
    assert len(counts) == categories
    assert stats.chisquare(counts.numpy()).pvalue > 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pad", [1, 4])
def test_each_crop_is_the_window_of_the_black_bordered_image_that_was_drawn(pad, layout):
    originals = images()
    black = torch.tensor([-1.5, 0.0, 2.5])
    crop = Crop(black=black, pad=pad)
    draws = crop.draw(40, 9, 7, generator(1))
    cropped = crop.apply(originals.contiguous(memory_format=layout), draws)
    for image, window, (top, left) in zip(originals, cropped, draws.tolist(), strict=True):
        bordered = torch.stack([F.pad(c, [pad] * 4, value=v) for c, v in zip(image, black.tolist(), strict=True)])
        assert torch.equal(window, bordered[:, top : top + 9, left : left + 7])


def test_the_window_in_the_middle_is_the_image():
    crop = Crop(black=torch.zeros(3))
    assert torch.equal(crop.apply(images(), torch.full((40, 2), 4)), images())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_flips_are_exact_mirror_images(layout):
    originals = images()
    draws = Flip().draw(40, 9, 7, generator(1))
    assert 0 < draws.sum() < 40
    flipped = Flip().apply(originals.contiguous(memory_format=layout), draws)
    for image, result, (mirrored,) in zip(originals, flipped, draws.tolist(), strict=True):
        for column in range(7):
            assert torch.equal(result[:, :, column], image[:, :, 6 - column if mirrored else column])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("height", "width"), [(9, 7), (32, 40)])
def test_each_resized_crop_is_that_of_torch_one_image_at_a_time(height, width, layout):
    originals = images(height=height, width=width)
    resized = ResizedCrop()
    draws = resized.draw(40, height, width, generator(1))
    scaled = resized.apply(originals.contiguous(memory_format=layout), draws)
    assert scaled.shape == originals.shape
    for image, result, (top, left, tall, wide) in zip(originals, scaled, draws.tolist(), strict=True):
        part = image[None, :, top : top + tall, left : left + wide].double()
        expected = F.interpolate(part, size=(height, width), mode="bilinear", antialias=True)[0].float()
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


def test_the_whole_image_comes_out_as_it_was():
    whole = torch.tensor([[0, 0, 9, 7]]).expand(40, -1)
    torch.testing.assert_close(ResizedCrop().apply(images(), whole), images(), rtol=0, atol=1e-6)


def test_windows_are_placed_uniformly_and_independently_in_both_directions():
    top, left = Crop(black=torch.zeros(1)).draw(100_000, 32, 32, generator(2)).unbind(1)
    assert_uniform(top * 9 + left, 81)


def test_half_of_the_images_are_mirrored():
    assert_uniform(Flip().draw(100_000, 32, 32, generator(2)), 2)


def one_at_a_time(crop, count, height, width):
    rng = random.Random(2)
    return torch.tensor([crop.draw_one(height, width, rng) for _ in range(count)])


def all_at_once(crop, count, height, width):
    return crop.draw(count, height, width, generator(2))


DRAWS = pytest.mark.parametrize("draw", [all_at_once, one_at_a_time])


@DRAWS
@pytest.mark.parametrize(("area", "aspect"), [((0.08, 1), (3 / 4, 4 / 3)), ((0.1, 1), (0.8, 1.25))])
def test_parts_lie_within_the_image_and_have_the_area_and_shape_they_should(draw, area, aspect):
    smallest, (narrowest, widest) = area[0], aspect
    crop = ResizedCrop(area=area, aspect=aspect)
    top, left, tall, wide = draw(crop, 20_000, 224, 224).unbind(1)
    for start, length in ((top, tall), (left, wide)):
        assert start.min() >= 0
        assert length.min() >= 1
        assert (start + length).max() <= 224
    # Whole pixels: with sides of 55 pixels and more a side is off by 1 % at most.
    aspect, area = wide / tall, tall * wide / 224**2
    assert narrowest * 0.98 < aspect.min() < narrowest * 1.02
    assert widest * 0.98 < aspect.max() < widest * 1.02
    assert smallest * 0.97 < area.min() < smallest * 1.07
    assert 0.98 < area.max() <= 1
    # Below three quarters of the image every shape fits, so nothing is drawn again: uniform there.
    small = area[area < 0.72]
    least = smallest / 0.72
    assert stats.kstest((small / 0.72).numpy(), stats.uniform(least, 1 - least).cdf).pvalue > 1e-4
    shape = aspect[area < 0.72].log() / math.log(widest)
    assert stats.kstest(shape.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4


@DRAWS
def test_a_place_is_uniform_given_the_size(draw):
    top, left, tall, wide = draw(ResizedCrop(), 100_000, 8, 8).unbind(1)
    fours = (tall == 4) & (wide == 4)
    assert_uniform(top[fours] * 5 + left[fours], 25)


@pytest.mark.parametrize(
    ("height", "width", "part"), [(4, 100, (0, 47, 4, 5)), (100, 4, (47, 0, 5, 4)), (30, 30, (0, 0, 30, 30))]
)
def test_where_no_part_fits_it_is_the_largest_one_in_the_middle(height, width, part):
    draws = ResizedCrop(tries=0).draw(5, height, width, generator(0))
    assert draws.tolist() == [list(part)] * 5
    assert ResizedCrop(tries=0).draw_one(height, width, random.Random(0)) == part


def test_the_papers_resized_crop_is_that_of_its_code():
    (crop,) = Augmenter(("paper-resized-crop",), images()).augmentations
    assert (crop.area, crop.aspect) == ((0.1, 1.0), (0.8, 1.25))


def test_what_is_done_to_an_example_depends_on_seed_and_epoch_not_on_its_batch():
    originals = images()
    augment = Augmenter(("resized-crop", *EVERY), originals)
    augment.begin(generator(3, "augment", 5))
    everything = augment(originals, torch.arange(40))
    order = torch.randperm(40, generator=generator(0))
    for batch in order.split(7):
        torch.testing.assert_close(augment(originals[batch], batch), everything[batch])

    def again(seed, epoch):
        other = Augmenter(("resized-crop", *EVERY), originals)
        other.begin(generator(seed, "augment", epoch))
        return other(originals, torch.arange(40))

    assert torch.equal(again(3, 5), everything)
    assert not torch.equal(again(3, 6), everything)
    assert not torch.equal(again(4, 5), everything)


def test_neither_the_images_nor_the_global_random_state_change():
    originals, state = images(), torch.get_rng_state()
    augment = Augmenter(tuple(AUGMENTATIONS), originals)
    augment.begin(generator(0))
    augment(originals, torch.arange(40))
    assert torch.equal(originals, images())
    assert torch.equal(torch.get_rng_state(), state)


def test_augmentations_are_applied_in_the_order_in_which_they_are_named():
    originals = images()
    augment = Augmenter(("flip", "crop"), originals)
    augment.begin(generator(0))
    flips, crops = augment.draws
    black = originals.amin(dim=(0, 2, 3))
    expected = Crop(black=black).apply(Flip().apply(originals, flips), crops)
    assert torch.equal(augment(originals, torch.arange(40)), expected)


def test_the_border_is_black_as_it_is_after_normalisation():
    pixels = torch.randint(0, 256, (50, 6, 6, 3), generator=generator(0), dtype=torch.uint8)
    pixels[0] = 0
    mean, std = torch.tensor([120.0, 90.0, 60.0]), torch.tensor([50.0, 60.0, 70.0])
    lazy = PixelInputs(pixels, mean=mean, std=std)
    assert isinstance(lazy, LazyInputs)
    normalised = lazy[torch.arange(50)]
    for inputs in (lazy, normalised):
        (crop,) = Augmenter(("crop",), inputs).augmentations
        torch.testing.assert_close(crop.black, -mean / std)
    corner = torch.zeros(50, 2, dtype=torch.int64)
    padded_first = F.pad(pixels.permute(0, 3, 1, 2), (4, 0, 4, 0))[:, :, :6, :6].float()
    expected = (padded_first - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(crop.apply(normalised, corner), expected)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match=r'unknown augmentation "flop"; known: .*did you mean "flip"'):
        Augmenter(("flop",), images())


def data(count=35):
    return Split(inputs=images(count, 2, 5, 5), targets=torch.arange(count) % 3)


def tiny():
    return network("resnet-8", input_shape=(2, 5, 5), classes=3, width=0.5)


RECIPE = Recipe(epochs=3, batch_size=8, lr=0.02, augment=EVERY)


def test_the_network_sees_the_augmented_examples_of_the_epoch():
    seen = []
    model = tiny()
    model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    train(model, data(), RECIPE, seed=4)
    assert [len(batch) for batch in seen] == [8, 8, 8, 8, 3] * 3
    augment = Augmenter(EVERY, data().inputs)
    for epoch in range(3):
        order = torch.randperm(35, generator=generator(4, "order", epoch))
        augment.begin(generator(4, "augment", epoch))
        assert torch.equal(torch.cat(seen[5 * epoch : 5 * epoch + 5]), augment(data().inputs[order], order))


@pytest.mark.parametrize("until", [0, 1, 3, 5, 7, 14])
@pytest.mark.parametrize("augment", [EVERY, ("resized-crop", "flip")])
def test_going_on_within_an_epoch_is_bit_identical_to_one_run(until, augment):
    recipe = RECIPE.override({"augment": augment})
    whole = train(tiny(), data(), recipe, seed=3, test=data())
    start = train(tiny(), data(), recipe, seed=3, until=until).checkpoint
    rest = train(tiny(), data(), recipe, seed=3, test=data(), start=start)
    assert whole.test_loss == rest.test_loss
    for part in ("model", "momentum"):
        one, other = getattr(whole.checkpoint, part), getattr(rest.checkpoint, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_test_set_is_never_augmented():
    model = tiny()
    train(model, data(), RECIPE, seed=0, until=1)
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: module.training or seen.append(inputs[0].clone()))
    train(model, data(), RECIPE, seed=0, test=data(), until=0)
    assert torch.equal(torch.cat(seen), data().inputs)


@pytest.mark.parametrize(("side", "covered"), [(None, 3), (2, 2), (9, 6)])
def test_cutout_covers_a_square_that_ends_at_the_border(side, covered):
    images = torch.ones(2, 3, 6, 6)
    cut = Cutout(side=side).apply(images, torch.tensor([[3, 3], [0, 5]]))
    for channel in range(3):
        zeros = (cut[0, channel] == 0).nonzero()
        assert (zeros[:, 0].unique().numel(), zeros[:, 1].unique().numel()) == (covered, covered)
    half = (side or 3) // 2
    assert int((cut[1, 0] == 0).sum()) == min(6, (side or 3) - half) * min(6, half + 1)
    assert images.all()


def test_cutout_is_placed_uniformly_and_named_with_its_side():
    augmenter = Augmenter(["cutout:1"], torch.ones(4000, 1, 2, 2))
    augmenter.begin(generator(0))
    cut = augmenter(torch.ones(4000, 1, 2, 2), torch.arange(4000))
    share = (cut == 0).float().mean(0)
    assert torch.allclose(share, torch.full((1, 2, 2), 0.25), atol=0.03)

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prunemark.datasets import imagenet
from prunemark.datasets.decoding import pixels_with_pillow, pixels_with_torchvision
from tests.datasets.archives import IMAGENET, encoded, imagenet_members, picture, unpack


def cmyk() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(1)).convert("CMYK").save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.vision
@pytest.mark.parametrize(
    ("content", "levels"),
    [(encoded(picture(0)), 2), (encoded(picture(0, grey=True)), 2), (encoded(picture(0), "PNG"), 0), (cmyk(), 4)],
    ids=["colours", "grey", "png", "cmyk"],
)
def test_torchvision_decodes_what_pillow_does(content: bytes, levels: int) -> None:
    pixels = pixels_with_torchvision(content, origin="here")
    assert pixels.dtype == torch.uint8
    expected = pixels_with_pillow(content, origin="").astype(int)
    np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy(), expected, atol=levels)


@pytest.mark.vision
@pytest.mark.parametrize("content", [b"", b"no image", encoded(picture(0))[:60]], ids=["empty", "text", "cut off"])
def test_torchvision_names_a_damaged_image(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^here: not an image, or a damaged one"):
        pixels_with_torchvision(content, origin="here")


@pytest.mark.vision
def test_imagenet_is_streamed_with_torchvision_unless_asked_otherwise(tmp_path: Path) -> None:
    data = imagenet.load(IMAGENET, data_dir=unpack(tmp_path, imagenet_members()))
    assert tuple(data.train.inputs[torch.tensor([5, 0])].shape) == (2, 3, 224, 224)

import struct

import numpy as np
import pytest

from prunemark.datasets.idx import parse, parse_labelled_images
from tests.datasets.idx_files import idx_bytes

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([1, 0], dtype=np.uint8)
ORIGINS = ("images-file", "labels-file")


def test_reads_what_was_written_in_its_order() -> None:
    images, labels = parse_labelled_images(idx_bytes(PIXELS), idx_bytes(LABELS), classes=2, origins=ORIGINS)
    assert images.shape == (2, 1, 3, 4)
    np.testing.assert_array_equal(images[:, 0], PIXELS)
    np.testing.assert_array_equal(labels, LABELS)
    assert images.dtype == labels.dtype == np.uint8


def test_a_header_written_by_hand() -> None:
    content = bytes.fromhex("0000080100000003050607")
    assert parse(content, axes=1, origin="file").tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^file: 0 bytes are too few for an IDX header of 16 bytes$"),
        (idx_bytes(PIXELS)[:15], r"^file: 15 bytes are too few"),
        (b"\x01" + idx_bytes(PIXELS)[1:], r"^file: expected the magic number 00000803 .*found 01000803$"),
        (idx_bytes(PIXELS, kind=0x0D), r"expected the magic number 00000803 .*found 00000d03$"),
        (idx_bytes(PIXELS.reshape(2, 3, 2, 2)), r"expected the magic number 00000803 .*found 00000804$"),
        (idx_bytes(PIXELS)[:-1], r"^file: expected 24 bytes after the header \(2 x 3 x 4\), found 23$"),
        (idx_bytes(PIXELS) + b"\0", r"^file: expected 24 bytes after the header \(2 x 3 x 4\), found 25$"),
        (idx_bytes(PIXELS[:0]), r"^file: the header says 0 x 3 x 4: no values$"),
        (
            struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            r"expected 79228162458924105385300197375 bytes after the header",
        ),
    ],
)
def test_a_broken_file_is_refused_with_what_was_expected_and_found(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(content, axes=3, origin="file")


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels-file: expected 2 labels, .*images-file, found 1"):
        parse_labelled_images(idx_bytes(PIXELS), idx_bytes(LABELS[:1]), classes=2, origins=ORIGINS)


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="labels-file: expected labels 0 to 1, found 2 at position 1"):
        parse_labelled_images(
            idx_bytes(PIXELS), idx_bytes(np.array([0, 2], dtype=np.uint8)), classes=2, origins=ORIGINS
        )


def test_images_in_the_place_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="labels-file: expected the magic number 00000801"):
        parse_labelled_images(idx_bytes(PIXELS), idx_bytes(PIXELS), classes=2, origins=ORIGINS)

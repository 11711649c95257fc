"""Rebuild src/prunemark/datasets/digits.npz from scikit-learn's wheel.

    pip download --no-deps scikit-learn && python tools/make_digits.py scikit_learn-*.whl

A wheel is a zip file; sklearn/datasets/data/digits.csv.gz in it has 64 pixels (0 to 16) and the label a line.
The archive has no time stamps, so one version of numpy and zlib makes the same bytes each time; the arrays
are the same in any case, and tests/datasets/test_digits.py pins their SHA-256.
"""

import argparse
import gzip
import zipfile
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "src/prunemark/datasets/digits.npz"


def main() -> None:
    """Read the wheel named on the command line and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        lines = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode().splitlines()
    table = np.loadtxt(lines, delimiter=",", dtype=np.float64)
    if table.shape != (1797, 65) or table[:, :64].max() != 16 or (table != table.round()).any():
        raise SystemExit(f"{arguments.wheel}: not the digits that were expected: shape {table.shape}")
    values = table.astype(np.uint8)
    np.savez_compressed(arguments.out, images=values[:, :64].reshape(-1, 8, 8), labels=values[:, 64])
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()

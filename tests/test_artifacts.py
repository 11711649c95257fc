"""One reader and one writer for masks, checkpoints and scores: each refuses what is damaged or of another kind."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import prunemark as pm
from prunemark.artifacts import Format, plain_copies, read_artifact, write_artifact
from prunemark.study.jobs import _load_scores, _save_scores  # pyright: ignore[reportPrivateUsage]
from prunemark.training import Checkpoint

WEIGHTS = {"a": torch.ones(3, 2), "b": torch.zeros(4)}
KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "masks": (pm.Masks.ones(WEIGHTS).save, pm.Masks.load),
    "checkpoint": (Checkpoint(step=3, model=WEIGHTS).save, Checkpoint.load),
    "scores": (lambda place: _save_scores(WEIGHTS, place), _load_scores),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
@pytest.mark.parametrize("kept", [0, 7, 60, -1])
def test_a_truncated_one_is_refused(tmp_path: Path, kind: str, kept: int) -> None:
    write, read = KINDS[kind]
    write(place := tmp_path / "a.safetensors")
    read(place)
    place.write_bytes(place.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"a\.safetensors is not a whole safetensors file, and a {kind} file is one"):
        read(place)


@each_kind
def test_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "a.safetensors"
    for other in KINDS.keys() - {kind}:
        KINDS[other][0](place)
        message = rf"a\.safetensors is no {kind} file: its format is prunemark\.{other}/1, expected prunemark\.{kind}/1"
        with pytest.raises(ValueError, match=message):
            KINDS[kind][1](place)


@each_kind
def test_a_missing_one_is_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no {kind} file"):
        KINDS[kind][1](tmp_path / "a.safetensors")


@each_kind
def test_one_without_what_it_must_say_is_named(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "a.safetensors"
    write_artifact(place, Format(kind, f"prunemark.{kind}/1"), {}, {})
    with pytest.raises(ValueError, match=rf"a\.safetensors is a damaged {kind} file: it has no '"):
        KINDS[kind][1](place)


def test_what_was_written_is_told_by_its_digest(tmp_path: Path) -> None:
    place, kind = tmp_path / "a.safetensors", Format("toy", "toy/1")
    written = write_artifact(place, kind, WEIGHTS, {"x": "[1]"})
    content = place.read_bytes()
    assert (written.digest, written.size) == (hashlib.sha256(content).hexdigest(), len(content))
    artifact = read_artifact(place, kind, digest=written.digest)
    assert artifact.json("x") == [1]
    assert all(torch.equal(artifact.tensors[name], tensor) for name, tensor in WEIGHTS.items())
    # One flipped bit of a weight: a whole file, of the right format.
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"a\.safetensors is not the toy file that was written: SHA-256 .*, expected"):
        read_artifact(place, kind, digest=written.digest)


def test_tensors_that_share_memory_become_copies(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    shared = {"whole": whole, "turned": whole.T, "row": whole[:1].expand(4, 3)}
    write_artifact(tmp_path / "a", Format("toy", "toy/1"), plain_copies(shared), {})
    read = read_artifact(tmp_path / "a", Format("toy", "toy/1")).tensors
    assert all(torch.equal(read[name], tensor) for name, tensor in shared.items())

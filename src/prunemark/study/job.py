"""A job, and what came of it: the two things that travel between the driver and its workers."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from prunemark.version import __version__

Kind = Literal["dense", "score", "mask", "train"]
Status = Literal["done", "diverged", "failed"]
CURVE = ("step", "epoch", "train_loss", "test_loss", "test_accuracy")
"""What a training records of each of its epochs, see `prunemark.training.EpochRecord`."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work that is done once, whatever needs it.

    Attributes:
        key: hash of the kind and of `spec`.
        kind: dense (train the dense network to a step), score, mask, or train (a subnetwork).
        spec: every field that can change the result, JSON.
        inputs: role -> key of the job whose artifact is read. Not hashed: a checkpoint is the same from
            whichever earlier checkpoint it was reached.
        files: digest of a user's file -> its path, then those of what it depends on. Not hashed: the digest is.
        data: the data set, where `spec` holds its fingerprint in place of its name. Not hashed.
        steps: optimizer steps that this job takes.
        cost: expected work, in optimizer steps of the dense network.
        keeps_state: of a subnetwork's training, whether another job continues from the state it ends in. Not hashed.
        curves: of a training, whether the test set is evaluated after each epoch. Not hashed: it changes no number.
        digests: key of an input -> SHA-256 that its artifact was written with. Not hashed; the driver fills it in, from
            `Store.digests`, when it hands the job out. An input that is not among them was stored by a version that
            recorded none, and is read unverified.
    """

    key: str
    kind: Kind
    spec: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    data: str = ""
    steps: int = 0
    cost: float = 0.0
    keeps_state: bool = False
    curves: bool = False
    digests: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def foreign(self) -> list[str]:
        """The files of the user's and the packages of others whose code this job runs."""
        named = [self.spec.get(part) for part in ("network", "method")]
        packages = [each.get("package") for each in named if isinstance(each, dict)]
        found = [f"{each['name']} {each['version']}" for each in (*packages, self.spec.get("dataset_package")) if each]
        return [*(path for path, *_ in self.files.values()), *dict.fromkeys(found)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """From `to_dict`."""
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Underway:
    """A job that a worker has in hand.

    Attributes:
        job: which.
        seconds: since it began; 0 while its worker is still starting.
        step: how far it is: training steps of its schedule, or rounds of pruning; 0 where it has not said.
        resumed_at: where it resumed from a checkpoint of its own; 0 if it began at its beginning.
        note: what else it said, such as why a checkpoint of its own was of no use.
    """

    job: Job
    seconds: float = 0.0
    step: int = 0
    resumed_at: int = 0
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a job, or its failure.

    Attributes:
        status: done, diverged (training met a value that is not finite) or failed.
        result: its numbers and certificates, JSON; empty when it failed.
        error: why it failed, in one line, then details.
        disk_full: whether that was for want of space on a disk.
        seconds: how long it took.
        device, torch_version, code_version: where and with what it ran.
        digest, size: SHA-256 (hex) and bytes of the artifact that it wrote; empty and 0 where it wrote none.
        unusable: key of an input whose artifact is missing or damaged -> what is wrong with it. Then the job has
            failed, is no fault of its own, and is to be done again after that input's.
    """

    status: Status
    result: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""
    disk_full: bool = False
    seconds: float = 0.0
    device: str = ""
    torch_version: str = ""
    code_version: str = __version__
    digest: str = ""
    size: int = 0
    unusable: dict[str, str] = field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """From `to_dict`."""
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Context:
    """Surroundings of a worker.

    Attributes:
        artifacts: folder of the artifacts.
        device: where it computes.
        data_dir: folder of data sets; None = the usual one.
        devices: of several workers, one each; empty = all on `device`.
        engine: of its trainings, or "auto"; the result of a training says which it was.
        memory_gib: what a process may take; None = what there is.
        checkpoint_s: how often a long job writes down how far it is.
    """

    artifacts: str
    device: str = "cpu"
    data_dir: str | None = None
    devices: tuple[str, ...] = ()
    engine: str = "dense"
    memory_gib: float | None = None
    checkpoint_s: float = 300.0

    def each_device(self) -> Iterator[str]:
        """The device of each worker, of as many as are asked for."""
        return itertools.cycle(self.devices or (self.device,))


_LONGEST_ERROR = 20_000


def printable(text: str) -> str:
    """A text for terminals and databases: no control characters but newlines, no surrogates, not too long."""
    if len(text) > _LONGEST_ERROR:
        half = _LONGEST_ERROR // 2
        text = f"{text[:half]} ... ({len(text):,} characters) ... {text[-half:]}"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)

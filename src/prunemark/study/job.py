"""A job, and what came of it: the two things that travel between the driver and its workers."""

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
        steps: optimizer steps that this job takes.
        cost: expected work, in optimizer steps of the dense network.
        keeps_state: of a subnetwork's training, whether another job continues from the state it ends in. Not hashed.
        curves: of a training, whether the test set is evaluated after each epoch. Not hashed: it changes no number.
    """

    key: str
    kind: Kind
    spec: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    steps: int = 0
    cost: float = 0.0
    keeps_state: bool = False
    curves: bool = False

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
class Outcome:
    """Result of a job, or its failure.

    Attributes:
        status: done, diverged (training met a value that is not finite) or failed.
        result: its numbers and certificates, JSON; empty when it failed.
        error: why it failed, in one line, then details.
        seconds: how long it took.
        device, torch_version, code_version: where and with what it ran.
    """

    status: Status
    result: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""
    seconds: float = 0.0
    device: str = ""
    torch_version: str = ""
    code_version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """From `to_dict`."""
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Context:
    """Surroundings of a worker: the folders of artifacts and of data sets (None = the usual one), and the device."""

    artifacts: str
    device: str = "cpu"
    data_dir: str | None = None

"""Parts of long work: how far it is, on disk, so that whoever does it after a kill goes on from there.

A part stands beside the artifact that will come of the work. It counts only whole, by its digest, and only for the same
work with the same program; any other is as good as none. Importing this module imports no torch.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.artifacts import Place, plain_copies, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "prunemark.part/1"
_TELL_S = 2.0


def part_place(folder: Place, key: str) -> Path:
    """The place of how far a job is."""
    return Path(folder) / f"{key}.part"


def is_part(path: Path) -> bool:
    """True if a file beside artifacts says how far a job is."""
    return not path.name.startswith(".") and path.name.partition(".")[2].startswith("part")


@dataclass(frozen=True, kw_only=True)
class Part:
    """State of work that is under way.

    Attributes:
        at: how far it is: steps, or rounds.
        tensors: by name; on the CPU.
        facts: all else, JSON.
    """

    at: int
    tensors: "dict[str, Tensor]"
    facts: dict[str, Any]


class Keeper:
    """Keeps how far some work is, every so many seconds, and finds it again.

    Args:
        place: of the file.
        every_s: seconds between two.
        identity: what must be equal for a part to be of use: versions, settings, inputs, device, engine.
        tell: called with {"step": how far} now and then, and once with {"resumed_at": how far} or {"note": why not}.
    """

    def __init__(
        self,
        place: Place,
        *,
        every_s: float,
        identity: Mapping[str, str],
        tell: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.place = place
        self._every_s, self._identity, self._tell = every_s, dict(identity), tell
        self._kept = self._told = time.monotonic()

    def due(self, at: int) -> bool:
        """Take note of how far the work is; True if it is time to keep that."""
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            self._tell({"step": at})
        return now - self._kept >= self._every_s

    def keep(self, at: int, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> None:
        """Write down how far the work is, in place of what was there.

        Args:
            at: how far.
            tensors: by name, copied.
            facts: all else, JSON.

        Raises:
            OSError: it cannot be written, so that the work's own artifact could not be either.
        """
        from safetensors.torch import save

        header = {"format": _FORMAT, "at": str(at), "identity": json.dumps(self._identity), "facts": json.dumps(facts)}
        content = save(plain_copies(tensors), header)
        write_atomically(self.place, hashlib.sha256(content).digest() + content)
        self._kept = time.monotonic()

    def kept(self) -> Part | None:
        """What was kept; None if nothing was, or nothing that is of use."""
        found, why_not = self._read()
        if found is not None:
            self._tell({"step": found.at, "resumed_at": found.at})
        elif why_not:
            self._tell({"note": why_not})
        return found

    def _read(self) -> tuple[Part | None, str]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            whole = Path(self.place).read_bytes()
        except OSError:
            return None, ""
        digest, content = whole[:32], whole[32:]
        if hashlib.sha256(content).digest() != digest:
            return None, "the checkpoint of how far it was is damaged"
        try:
            size = int.from_bytes(content[:8], "little")
            header: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
            if header["format"] != _FORMAT or json.loads(header["identity"]) != self._identity:
                return None, "another version, setting, input, engine or device kept how far it was"
            return Part(at=int(header["at"]), tensors=load(content), facts=json.loads(header["facts"])), ""
        except (KeyError, ValueError, SafetensorError) as error:
            return None, f"the checkpoint of how far it was cannot be read: {error}"

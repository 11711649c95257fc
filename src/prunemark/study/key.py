"""Content hashes: what makes two jobs the same job."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA = 2
"""Part of every key. Raise it when a change of code makes old results wrong: everything is then run afresh."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, 1.0 written as 1.

    Raises:
        ValueError: a number is not finite, or something is not JSON.
    """
    try:
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"not JSON: {error}") from error


def content_key(kind: str, fields: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the kind of a job, every field that can change its result, and `SCHEMA`."""
    return hashlib.sha256(canonical({"schema": SCHEMA, "kind": kind, **fields}).encode()).hexdigest()


def _plain(value: Any) -> Any:
    # TOML distinguishes 1 from 1.0 and lists from tuples; the result of a job does not.
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value

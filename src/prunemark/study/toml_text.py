"""A study's fields as TOML, so that a report holds what runs it again. No torch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def toml_text(spec: Mapping[str, Any]) -> str:
    """The fields as a study file: what has a value, tables last; methods without settings by their names.

    Args:
        spec: as `Study.model_dump(mode="json")` returns it.
    """
    plain = {name: value for name, value in spec.items() if value is not None and not isinstance(value, Mapping)}
    tables = {name: value for name, value in spec.items() if isinstance(value, Mapping) and value}
    if "methods" in plain:
        plain["methods"] = [_method(method) for method in plain["methods"]]
    lines = [f"{name} = {_listed(value)}" for name, value in plain.items() if value not in ([], "")]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{_key(key)} = {toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _method(method: Any) -> Any:
    if not isinstance(method, Mapping):
        return method
    kept = {name: value for name, value in method.items() if value not in (None, {}, "")}
    return kept["name"] if set(kept) <= {"name", "label"} and kept.get("label") in (None, kept["name"]) else kept


def _listed(value: Any) -> str:
    """Lists of tables one a line."""
    if isinstance(value, Sequence) and any(isinstance(one, Mapping) for one in value):
        return "[\n" + "".join(f"  {toml_value(one)},\n" for one in value) + "]"
    return toml_value(value)


def toml_value(value: Any) -> str:
    """A value as TOML, in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            inside = [f"{_key(key)} = {toml_value(one)}" for key, one in value.items() if one is not None]
            return f"{{ {', '.join(inside)} }}" if inside else "{}"
        case _:
            return f"[{', '.join(toml_value(one) for one in value)}]"


def _key(key: Any) -> str:
    text = str(key)
    return text if text.replace("_", "").replace("-", "").isalnum() and text.isascii() else json.dumps(text)

"""The programs of docs/where-you-train.md, run as they stand against the real libraries."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/where-you-train.md"
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Heading -> code, the part before the first heading under ''."""
    parts = SECTION.split(PAGE.read_text())
    texts = {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))
    return {heading: "\n".join(BLOCK.findall(text)) for heading, text in texts.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("heading", [heading for heading, code in sections().items() if heading and code])
def test_a_program_of_the_page(heading, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = sections()
    names: dict[str, object] = {"__name__": "page"}
    for part in ("", heading):
        exec(compile(code[part], f"{PAGE.name}: {part or 'the beginning'}", "exec"), names)


def test_every_library_of_the_page_has_a_program():
    assert {"Lightning", "Transformers' Trainer", "accelerate", "Ignite", "skorch"} <= sections().keys()

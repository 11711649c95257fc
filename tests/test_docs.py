"""The Python in README.md and docs/ runs as it stands."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^```(?:python|toml(?= title))(?: title=\"(?P<file>[\w.]+)\")?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
ELSEWHERE = "where-you-train.md"  # needs other packages: tests/integrations runs it
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.name != ELSEWHERE)]


@pytest.mark.parametrize("page", PAGES)
def test_code_of_a_page(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    names = {
        # What a page may take as given.
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": [(torch.randn(8, 3, 2, 2), torch.randint(0, 3, (8,)))],
    }
    for block in BLOCK.finditer(text):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["code"])
        else:
            exec(compile(block["code"], page, "exec"), names)
    sys.modules.pop("mine", None)


def test_each_row_of_failures_names_a_test():
    rows = [line for line in (ROOT / "docs/failures.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| what happens", "|--"))]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.rsplit("|", 2)[1])
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_there_is_code_to_run():
    assert sum(len(BLOCK.findall((ROOT / page).read_text())) for page in PAGES) >= 4

"""The Python in README.md and docs/ runs as it stands; the pages and the tables that they speak of agree."""

import json
import re
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from prunemark.methods import METHODS
from prunemark.study.executors import EXECUTORS, ExecutorEntry

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
    # A page may read what docs/ holds, and leaves its own files elsewhere.
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    if page == "docs/tour.md":
        entry = ExecutorEntry(
            target="tests.study.inline:InlineExecutor", summary="without processes, which take seconds"
        )
        monkeypatch.setitem(EXECUTORS, "local", entry)
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


def test_the_notebook_is_its_page():
    """So that running the page runs the notebook."""
    made = runpy.run_path(str(ROOT / "tools/make_notebook.py"))["cells_of"]((ROOT / "docs/tour.md").read_text())
    stored = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in stored] == [(c["cell_type"], c["source"]) for c in made]
    assert all(cell["execution_count"] for cell in stored if cell["cell_type"] == "code")


def test_every_method_is_in_the_gallery():
    text = (ROOT / "docs/gallery.md").read_text()
    pictured = runpy.run_path(str(ROOT / "tools/make_gallery.py"))["with_picture"]()
    for method in METHODS:
        if method in pictured:
            section = re.search(rf"^## {method}$.*?(?=^## )", text, re.MULTILINE | re.DOTALL)
            assert section, method
            assert f"](gallery/{method}.svg)" in section[0]
            assert (ROOT / f"docs/gallery/{method}.svg").exists()
            assert "Source: " in section[0]
        else:
            assert f"\n| `{method}` |" in text, method


def test_numbers_of_the_gallery_are_those_that_were_measured():
    table = runpy.run_path(str(ROOT / "tools/make_gallery.py"))["table_of"](ROOT / "docs/gallery/kept.csv")
    assert table in (ROOT / "docs/gallery.md").read_text()


def test_differences_on_the_page_about_the_paper_are_published_ones():
    text = (ROOT / "docs/paper.md").read_text()
    named = re.findall(r"\(results/([\w/-]+-claims\.csv)\)", text)
    published = pd.concat([pd.read_csv(ROOT / "docs/results" / name) for name in named]).dropna(subset="difference")
    said = {
        f"{d:+.2f} [{low:+.2f}, {high:+.2f}]" for d, low, high in published[["difference", "low", "high"]].to_numpy()
    }
    shown = re.findall(r"[+-]\d+\.\d+ \[[^\]]+\]", text)
    assert len(shown) > 8
    assert set(shown) <= said


def test_who_searches_for_own_dataset_finds_the_page():
    assert "own dataset" in (ROOT / "docs/own-data.md").read_text()

"""Make the notebook of a page: its Python, run, with what it shows.

    python tools/make_notebook.py docs/tour.md docs/tour.ipynb

The cells are the page's text and its Python blocks. The last
expression of a block is shown as Jupyter shows it, charts as SVG. No Jupyter is needed.
"""

import argparse
import ast
import contextlib
import hashlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from prunemark.reports.figure import vega_lite_version

_BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_NOTEBOOK: dict[str, Any] = {
    "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


def cells_of(page: str) -> list[dict[str, Any]]:
    """The page's text and code in turn, as cells without outputs."""
    cells: list[dict[str, Any]] = []
    for at, text in enumerate(_BLOCK.split(page)):
        if not text.strip():
            continue
        lines = text.strip().splitlines(keepends=True)
        cell: dict[str, Any] = {"id": hashlib.sha256(f"{at} {text}".encode()).hexdigest()[:8], "metadata": {}}
        if at % 2:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": [], "source": lines}
        else:
            cell |= {"cell_type": "markdown", "source": lines}
        cells.append(cell)
    return cells


def run(cells: list[dict[str, Any]]) -> None:
    """Run the code cells one after the other and give each its outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, 1):
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
        cell["execution_count"] = count
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            shown = {"data": _shown(value), "execution_count": count, "metadata": {}, "output_type": "execute_result"}
            cell["outputs"].append(shown)


def _shown(value: Any) -> dict[str, list[str]]:
    if isinstance(value, alt.TopLevelMixin):
        svg = vl_convert.vegalite_to_svg(value.to_dict(), vl_version=vega_lite_version())
        return {"image/svg+xml": [svg], "text/plain": [f"a chart: {type(value).__name__}"]}
    shown = {"text/plain": repr(value).splitlines(keepends=True)}
    html = getattr(value, "_repr_html_", None)
    return shown | ({"text/html": html().splitlines(keepends=True)} if html else {})


def main() -> None:
    """Write the notebook of the page named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("notebook", type=Path)
    options = parser.parse_args()
    cells = cells_of(options.page.read_text(encoding="utf-8"))
    notebook, here = options.notebook.resolve(), Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            run(cells)
        finally:
            os.chdir(here)
    notebook.write_text(
        json.dumps({"cells": cells, **_NOTEBOOK}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()

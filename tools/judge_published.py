"""Judge published results by the rules of this version: their claims as tables beside them, and one page of answers.

    python tools/judge_published.py docs/results docs/results/answers.md

For each FOLDER/STUDY.csv with its STUDY.json, writes FOLDER/STUDY-claims.csv. No training is run again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from prunemark.datasets import entry_for
from prunemark.reports.theme import display_name
from prunemark.stats import Judged, Looks, judge
from prunemark.study.replicates import parse

HEAD = """# What the published results say, by the rules of this version

The results of the digits and of Fashion-MNIST under `docs/results` were computed by version 0.1; their numbers stand.
Version 0.1 judged each cell by itself and summed cells up, which called claims "mixed" or "not settled" that the same
numbers settle (see the CHANGELOG): the files STUDY.txt hold what it printed. The answers below are what `pm.judge` of
this version says of the same tables, written by `python tools/judge_published.py docs/results
docs/results/answers.md`; beside each table stands STUDY-claims.csv. What earlier results did not record (learning
curves, which images were right) is not checked here: see [how far to trust a verdict](../studies.md). Replicate 0 of
the dense network of `laptop-fashion-mnist`, trained again, would not pass that check: 80, 75 and 71 % of the mask
after training at 79, 91.4 and 97.7 % sparsity is that of the initial weights, so those studies say little about
pruning after training; `laptop/sequential-fashion-mnist` is made to pass it.

| study | replicates | settled | the answer |
|---|---|---|---|
"""


def main() -> None:
    """Judge every published study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    rows: list[str] = []
    for file in sorted(options.folder.glob("*/*.json")):
        table = file.with_suffix(".csv")
        if not table.is_file():
            continue
        spec = json.loads(file.read_text(encoding="utf-8"))
        results = pd.read_csv(table)
        judged = _judged(results, spec)
        judged.claims.to_csv(file.with_name(f"{file.stem}-claims.csv"), index=False)
        for subject in judged.subjects:
            settled, total = subject.settled
            name = f"[{file.stem}]({file.parent.name}/{file.stem}-claims.csv)"
            replicates = results["replicate"].nunique()
            asked = parse(spec["replicates"])
            said = f"{replicates} ({asked.span})" if isinstance(asked, Looks) else f"{replicates}"
            rows.append(f"| {name} | {said} | {settled} of {total} | {subject.answer(display_name)} |")
    options.page.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


def _judged(table: pd.DataFrame, spec: dict[str, Any]) -> Judged:
    entry = entry_for(spec["dataset"])
    replicates = parse(spec["replicates"])
    return judge(
        table,
        margin=spec["margin"],
        looks=replicates if isinstance(replicates, Looks) else None,
        images=entry.test_examples,
        chance=100 / entry.classes,
        methods={method["label"]: method["name"] for method in spec["methods"]},
    )


if __name__ == "__main__":
    main()

"""Put the results of studies into the documentation: what is needed to check every number and picture of a page.

    python tools/publish_results.py FOLDER DESTINATION [STUDY ...]     # by default all studies of the folder

For each study of the folder of results, DESTINATION gets STUDY.json (the study as it was run, every field), STUDY.csv
(the export: one row per trial, with versions and device), STUDY.txt (tables and verdicts as the command line prints
them) and STUDY-FIGURE.svg for each figure of the report.
"""

import argparse
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from prunemark.own_code import is_own_code
from prunemark.reports.tables import terminal_summary
from prunemark.study.exports import export
from prunemark.study.judging import judge_study
from prunemark.study.reporting import write
from prunemark.study.store import Store

WIDTH = 110


def main() -> None:
    """Publish the studies named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("studies", nargs="*")
    options = parser.parse_args()
    options.destination.mkdir(parents=True, exist_ok=True)
    with Store.reading(options.folder) as store:
        specs = store.studies()
    for name in options.studies or specs:
        stem = options.destination / name
        Path(f"{stem}.json").write_text(json.dumps(_portable(specs[name]), indent=1) + "\n", encoding="utf-8")
        export(options.folder, to=Path(f"{stem}.csv"), study=name)
        printed = io.StringIO()
        with tempfile.TemporaryDirectory() as scratch:
            judged = judge_study(options.folder, study=name)
            write(judged, Path(scratch) / "report.html")
            Console(file=printed, width=WIDTH).print(terminal_summary(judged, judged.results))
            for figure in sorted((Path(scratch) / "report-figures").glob("*.svg")):
                shutil.copy(figure, f"{stem}-{figure.name}")
        lines = [line.rstrip() for line in printed.getvalue().splitlines()]
        Path(f"{stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(name)


def _portable(spec: Any) -> Any:
    """The study with "FILE.py:NAME" for files of the user's, without their folders."""
    if isinstance(spec, dict):
        return {key: _portable(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_portable(value) for value in spec]
    return Path(spec).name if isinstance(spec, str) and is_own_code(spec) else spec


if __name__ == "__main__":
    main()

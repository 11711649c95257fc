"""The report of a folder of results."""

from pathlib import Path

from prunemark.reports.page import write_report
from prunemark.study.judging import JudgedStudy, judge_study


def report(folder: str | Path, *, out: str | Path | None = None, study: str | None = None) -> Path:
    """Judge the results in a folder and write the report: one HTML file, and its figures in a folder beside it.

    Args:
        folder: of results; a study may still be running.
        out: the page; by default report.html in the folder.
        study: which study of the folder; by default the last that was run.

    Returns:
        The page's path.

    Raises:
        ValueError: there is no such study, or none of its trials has finished.
        OSError: the folder holds no results, or the report cannot be written.

    Examples:
        >>> pm.report("results").name  # of the example of `prunemark.run`
        'report.html'
    """
    return write(judge_study(folder, study=study), Path(folder) / "report.html" if out is None else Path(out))


def write(judged: JudgedStudy, out: Path) -> Path:
    """The report of a study that is judged; see `prunemark.reports.write_report`."""
    return write_report(
        judged.results,
        judged,
        study_name=judged.name,
        facts=judged.facts,
        out=out,
        layers=judged.layers,
        epochs=judged.curves,
        methods=judged.methods,
        planned=judged.planned,
        shares=judged.shares,
        toml=judged.toml,
    )

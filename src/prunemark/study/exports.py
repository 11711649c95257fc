"""The tables of a folder of results, in Python and as files. No torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from prunemark.artifacts import write_atomically
from prunemark.registry import unknown
from prunemark.study.judging import judge_study
from prunemark.study.lock import StoreError
from prunemark.study.store import Store
from prunemark.study.trials import trials

if TYPE_CHECKING:
    import pandas as pd

What = Literal["trials", "claims", "cells", "curves", "layers"]
Format = Literal["csv", "parquet", "json", "latex"]

_TABLES: tuple[What, ...] = get_args(What)
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES = {"latex": "tex"}
_STEMS: dict[What, str] = {"trials": "results"}


def results(
    out: str | Path, *, study: str | None = None, what: What = "trials", correct: bool = False
) -> "pd.DataFrame":
    """The results in a folder as a table.

    "trials" has one row per trial and exactly the columns of `prunemark.terms.columns.TRIAL`: test_accuracy is a
    fraction in [0, 1]; status is done, diverged or failed, and a failed trial has no numbers (NaN); sparsity is what
    was asked for, density the exact fraction kept, effective_density that on a path from input to output; unscored the
    share of the kept weights that position chose; engine is what trained it and processor what computed it, missing
    where that was not recorded. Trials that have not run yet are left out.

    From method_name on, the columns say what a verdict needs, so that `prunemark.judge` says of the table, also after a
    file, what it says of the folder: method_name is the method behind the label; margin is in percentage points; looks
    is "fixed", or "3 to 20" where the results decided the number of replicates; test_images, classes and
    steps_per_epoch are counts; last_gain is what the last fifth of a training's epochs gained in test accuracy over the
    fifth before; initial_overlap is the share of the mask after training that is that of the initial weights.

    "curves" has one row per trial and epoch, with the columns of `prunemark.terms.columns.CURVE`, for trainings that
    stored a curve: train_loss is the mean over the epoch's examples, each as it was before its step (NaN where dense
    training stopped within the epoch); test_loss and test_accuracy are those at the end of the epoch. "layers" has one
    row per trial and layer, with the columns of `prunemark.terms.columns.LAYER`. "claims" and "cells" are those of
    `prunemark.judge`.

    Args:
        out: the folder.
        study: only this study of the folder; by default all, and for claims, cells and layers the last that was run.
        what: which table.
        correct: add the column `correct` to the trials: for each a boolean array (images,), which test images it got
            right, in the order of the data set; None where that was not stored. `numpy.stack` over the replicates of
            a cell makes an array (replicates, images).

    Raises:
        StoreError: there are no results in the folder, or they cannot be read.
        ValueError: there is no study of that name in it, or no such table.

    Examples:
        >>> table = pm.results("results")  # of the example of `prunemark.run`
        >>> table[["method", "sparsity", "status"]].to_dict("records")[-1]
        {'method': 'snip', 'sparsity': 0.9, 'status': 'done'}
    """
    if what not in _TABLES:
        raise ValueError(unknown("table", what, _TABLES))
    if correct and what != "trials":
        raise ValueError(f'correct= goes with what="trials", not "{what}"')
    if what in ("claims", "cells"):
        judged = judge_study(out, study=study)
        return judged.claims if what == "claims" else judged.cells
    with Store.reading(out) as store:
        if what == "curves":
            return store.curves(study)
        if what == "layers":
            return store.layers(study or next(reversed(store.studies()), ""))
        table = trials(store, study)
        return table.assign(correct=store.correct(study)) if correct else table


def export(
    out: str | Path,
    *,
    what: What = "trials",
    format: Format = "csv",
    to: str | Path | None = None,
    study: str | None = None,
) -> Path:
    """Write a table of `results` as a file, by default results.csv, or claims.csv and so on, in that folder.

    "latex" is a table of the package booktabs.

    Returns:
        The path of the file.

    Raises:
        StoreError: there are no results, the file cannot be written, or parquet lacks its library.
        ValueError: an unknown table, format or study.
    """
    if format not in FORMATS:
        raise ValueError(unknown("format", format, FORMATS))
    table = results(out, study=study, what=what)
    path = Path(to) if to is not None else Path(out) / f"{_STEMS.get(what, what)}.{SUFFIXES.get(format, format)}"
    return write_table(table, path, format)


def write_table(table: "pd.DataFrame", path: Path, format: Format) -> Path:
    """Write a table as a file of that format; see `export`."""
    try:
        # By renaming: a folder comes from anywhere, and a link in it is not written through.
        write_atomically(path, _content(table, format))
    except ImportError:
        raise StoreError("parquet needs pyarrow: pip install 'prunemark[parquet]'") from None
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _content(table: "pd.DataFrame", format: Format) -> bytes:
    match format:
        case "csv":
            return _without_formulas(table).to_csv(index=False).encode()
        case "json":
            text = table.to_json(orient="records", indent=1, double_precision=15)
            assert text is not None
            return text.encode()
        case "parquet":
            return table.to_parquet(index=False)
        case "latex":
            return _booktabs(table).encode()


def _without_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with an apostrophe before each text that a spreadsheet would take for a formula, and run."""

    def defused(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULAS else value

    texts = [name for name in table.columns if not str(table[name].dtype).startswith(("float", "int", "bool"))]
    return table.assign(**{name: [defused(value) for value in table[name]] for name in texts})


_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _booktabs(table: "pd.DataFrame") -> str:
    numeric = [str(table[name].dtype).lower().startswith(("float", "int")) for name in table.columns]
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.itertuples(index=False, name=None)]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('r' if each else 'l' for each in numeric)}}}",
            r"\toprule",
            " & ".join(map(_latex, table.columns)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex(value: object) -> str:
    import pandas as pd

    if value is None or value is pd.NA:
        return "--"
    if isinstance(value, float):
        return "--" if value != value else f"{value:.4g}"
    if isinstance(value, tuple):
        return ", ".join(map(_latex, value))
    return "".join(_SPECIAL.get(character, character) for character in str(value))

"""The report: one HTML file that needs nothing else, and the figures beside it as SVG and PNG."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from prunemark.report import curves, theme, words
from prunemark.report.curves import sparsity_text
from prunemark.report.figures import Figure, figures, slug, vega_lite_version
from prunemark.stats import Claim, Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

# What the page's script needs of Vega, Vega-Lite and Vega-Embed.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_SUBJECT = ("study", "network", "dataset")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a confidence interval is drawn: horizontal positions in [0, 100]; zero lies at 50."""

    low: float
    high: float
    middle: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class CellView:
    """One verdict as the page shows it."""

    verdict: Verdict
    support: words.Support
    sparsity: str
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """One claim as the page shows it, with its cells."""

    claim: Claim
    state: words.State
    tally: str
    cells: Sequence[CellView]


@dataclass(frozen=True, kw_only=True)
class FigureView:
    """A figure, its drawing as a data URI and its number."""

    figure: Figure
    drawing: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """All there is about one study, network and data set."""

    subject: str
    answer: str
    missing: str
    figures: Sequence[FigureView]
    claims: Sequence[ClaimView]
    margin: float
    sparsities: Sequence[str]
    numbers: Sequence[tuple[str, str, str, Sequence[str]]]
    dense: str


def write_report(
    results: "DataFrame",
    verdicts: Sequence[Verdict],
    claims: Sequence[Claim],
    *,
    study_name: str,
    facts: Mapping[str, str],
    out: Path,
    layers: "DataFrame | None" = None,
) -> Path:
    """Write the report of a study: the page `out`, and beside it the folder `<stem>-figures` with SVG and PNG files.

    The page carries its charts, data, styles and scripts inside; its content security policy lets it load nothing.
    It shows static drawings where scripts do not run and on paper. Existing files of these names are replaced, the
    page last and at once.

    Args:
        results: as `prunemark.results` returns them; several networks or data sets get a section each.
        verdicts: of `prunemark.stats.verdicts` about the same results.
        claims: of `prunemark.stats.claims` about these verdicts.
        study_name: the study's name, for the title.
        facts: what a reader must know of the run, shown in this order: {"device": "cpu", "hours": "0.1", ...}.
        out: the page's path; missing folders are made.
        layers: per-layer counts (see `charts.layer_density_panels`), with columns study, network and dataset too.

    Returns:
        The page's path.

    Raises:
        ValueError: the table of results is malformed.
        OSError: the folder cannot be written.
    """
    folder = out.parent / f"{out.stem}-figures"
    folder.mkdir(parents=True, exist_ok=True)
    subjects = list(dict.fromkeys(results[list(_SUBJECT)].itertuples(index=False, name=None)))
    sections: list[Section] = []
    number = 1
    for subject in subjects:
        section = _section(
            _about(results, subject),
            [one for one in verdicts if (one.study, one.network, one.dataset) == subject],
            [one for one in claims if (one.study, one.network, one.dataset) == subject],
            layers=None if layers is None else _about(layers, subject),
            subject=f"{subject[1]} on {subject[2]}",
            prefix="" if len(subjects) == 1 else f"{slug('-'.join(str(part) for part in subject))}-",
            folder=folder,
            number=number,
        )
        sections.append(section)
        number += len(section.figures)
    page = _render(sections, results, study_name=study_name, facts=facts, folder=folder)
    partial = out.with_name(f".{out.name}.part")
    partial.write_text(page, encoding="utf-8")
    partial.replace(out)
    return out


def _about(table: "DataFrame", subject: tuple[str, ...]) -> "DataFrame":
    for column, value in zip(_SUBJECT, subject, strict=True):
        table = table.loc[table[column] == value]
    return table


def _section(
    results: "DataFrame",
    verdicts: Sequence[Verdict],
    claims: Sequence[Claim],
    *,
    layers: "DataFrame | None",
    subject: str,
    prefix: str,
    folder: Path,
    number: int,
) -> Section:
    margin = verdicts[0].margin if verdicts else words.DEFAULT_MARGIN
    drawn: list[FigureView] = []
    for figure in figures(results, subject=subject, margin=margin, layers=layers, prefix=prefix):
        drawing = base64.b64encode(figure.save(folder).encode()).decode()
        drawn.append(
            FigureView(figure=figure, drawing=f"data:image/svg+xml;base64,{drawing}", number=number + len(drawn))
        )
    cells = curves.points(results)
    sparsities, rows = curves.grid(cells)
    dense = curves.dense(cells)
    return Section(
        subject=subject,
        answer=words.answer(results, claims, verdicts),
        missing=words.missing(results),
        figures=drawn,
        claims=[_claim_view(claim, words.about(claim, verdicts)) for claim in claims],
        margin=margin,
        sparsities=[sparsity_text(sparsity) for sparsity in sparsities],
        numbers=[
            (
                theme.label(row.series),
                theme.label(row.ablation),
                row.prune_at,
                [curves.accuracy_text(row.points.get(sparsity)) for sparsity in sparsities],
            )
            for row in rows
        ],
        dense=curves.accuracy_text(dense),
    )


def _claim_view(claim: Claim, verdicts: Sequence[Verdict]) -> ClaimView:
    reach = max((abs(end) for one in verdicts for end in (one.low, one.high) if math.isfinite(end)), default=0.0)
    scale = max(reach, 2 * verdicts[0].margin) if verdicts else 1.0
    return ClaimView(
        claim=claim,
        state=words.state(claim),
        tally=words.tally(claim, verdicts),
        cells=[
            CellView(
                verdict=one,
                support=words.support(one),
                sparsity="" if one.sparsity is None else f"{sparsity_text(one.sparsity)} %",
                interval=_interval(one, scale),
            )
            for one in sorted(verdicts, key=lambda one: not one.counted)
        ],
    )


def _interval(verdict: Verdict, scale: float) -> Interval | None:
    if not all(math.isfinite(value) for value in (verdict.low, verdict.high, verdict.difference)):
        return None

    # Linear within the margin and logarithmic beyond, so that a margin of 0.5 and a loss of 50 points fit one drawing.
    def place(value: float) -> float:
        reach = math.log1p(abs(value) / verdict.margin) / math.log1p(scale / verdict.margin)
        return round(50 + 46 * math.copysign(reach, value), 2)

    return Interval(
        low=place(verdict.low),
        high=place(verdict.high),
        middle=place(verdict.difference),
        margin=round(place(verdict.margin) - 50, 2),
    )


def _render(
    sections: Sequence[Section], results: "DataFrame", *, study_name: str, facts: Mapping[str, str], folder: Path
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prunemark.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["signed"] = _signed
    has_charts = any(section.figures for section in sections)
    bundle = _javascript() if has_charts else ""
    return environment.get_template("report.html.j2").render(
        study_name=study_name,
        sections=sections,
        facts=dict(facts),
        versions=[str(version) for version in dict.fromkeys(results["code_version"].dropna())],
        folder=folder.name,
        on_dark=theme.ON_DARK,
        bundle=bundle,
    )


@cache
def _javascript() -> str:
    import vl_convert

    bundle = vl_convert.javascript_bundle(snippet=_SNIPPET, vl_version=vega_lite_version())
    # The one way out of a script element is its end tag; "<\/" means the same to JavaScript.
    return bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")

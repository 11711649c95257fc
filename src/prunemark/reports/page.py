"""The report: one HTML file that needs nothing else, and the figures beside it as SVG, PNG and PDF."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from prunemark.artifacts import write_atomically
from prunemark.reports import curves, theme, words
from prunemark.reports.bibliography import citations
from prunemark.reports.figure import Figure, slug, vega_lite_version
from prunemark.reports.figures import LEARNING_CURVES, figures, ranges_figure
from prunemark.reports.stretches import tested
from prunemark.reports.trust import Remark, trust
from prunemark.reports.views import ClaimView, RangesView, claim_views, ranges_view, signed
from prunemark.stats import Judged, Ranges, Subject
from prunemark.stats.images import ImageShare
from prunemark.terms.metrics import METRICS
from prunemark.terms.numbers import percent_number

if TYPE_CHECKING:
    from pandas import DataFrame

# What the page's script needs of Vega, Vega-Lite and Vega-Embed.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_SUBJECT = ("study", "network", "dataset")


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
    answer: Sequence[str]
    trust: Sequence[Remark]
    notes: Sequence[str]
    missing: str
    figures: Sequence[FigureView]
    claims: Sequence[ClaimView]
    margin: float
    sparsities: Sequence[str]
    numbers: Sequence[tuple[str, str, str, Sequence[str]]]
    dense: str


def write_report(
    results: "DataFrame",
    judged: Judged,
    *,
    study_name: str,
    facts: Mapping[str, str],
    out: Path,
    layers: "DataFrame | None" = None,
    epochs: "DataFrame | None" = None,
    methods: Mapping[str, str] | None = None,
    planned: int | None = None,
    shares: Sequence[ImageShare] = (),
    toml: str = "",
) -> Path:
    """Write the report of a study: the page `out`, and beside it `<stem>-figures` with SVG, PNG and PDF files.

    The page carries its charts, data, styles and scripts inside; its content security policy lets it load nothing.
    It shows static drawings where scripts do not run and on paper. Existing files of these names are replaced, the
    page last and at once.

    Args:
        results: as `prunemark.results` returns them; several networks or data sets get a section each.
        judged: of `prunemark.stats.judge` about the same results.
        study_name: the study's name, for the title.
        facts: what a reader must know of the run, shown in this order: {"device": "cpu", "hours": "0.1", ...}.
        out: the page's path; missing folders are made.
        layers: counts of kept weights, one row per trial and layer, layers in the network's order: columns study,
            network, dataset, method, ablation, benchmark, prune_at, sparsity, replicate, layer, kept, total (counts of
            weights) and units_by_kept_inputs (a mapping: kept inputs -> number of units).
        epochs: how training went, one row per trial and epoch, as `prunemark.results(what="curves")` returns it.
        methods: label in the results -> the method's name in METHODS, or "FILE.py:function": which methods are variants
            of one another, and what to cite. A label that is not in it is taken for a name.
        planned: how many trials the study has; None = as many as have a row.
        shares: how much of the headline differences is the test set's, see `prunemark.stats.images`.
        toml: the study as a file.

    Returns:
        The page's path.

    Raises:
        ValueError: the table of results is malformed.
        OSError: the folder cannot be written.
    """
    folder = out.parent / f"{out.stem}-figures"
    if folder.is_symlink():
        raise FileExistsError(f"{folder} is a symbolic link, and is not written through: remove it")
    folder.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = []
    number = 1
    for subject in judged.subjects:
        key = (subject.study, subject.network, subject.dataset)
        section = _section(
            _about(results, key),
            subject,
            layers=None if layers is None else _about(layers, key),
            epochs=None if epochs is None else _about(epochs, key),
            methods=methods,
            planned=planned,
            shares=[one for one in shares if _subject_of(one) == key],
            prefix="" if len(judged.subjects) == 1 else f"{slug('-'.join(key))}-",
            folder=folder,
            number=number,
        )
        sections.append(section)
        number += len(section.figures)
    by_subject = _ranges(judged)
    chart = ranges_figure(by_subject)
    page = _render(
        sections,
        results,
        study_name=study_name,
        reword=next((one.standard.metric for one in judged.subjects), METRICS["accuracy"]).reworded,
        facts=facts,
        methods=methods,
        toml=toml,
        folder=folder,
        ranges=[ranges_view(name, found) for name, found in by_subject.items()],
        ranges_figure=None if chart is None else _drawn(chart, folder, number),
    )
    write_atomically(out, page.encode())
    return out


def _subject_of(share: ImageShare) -> tuple[str, str, str]:
    return share.finding.study, share.finding.network, share.finding.dataset


def _about(table: "DataFrame", subject: tuple[str, ...]) -> "DataFrame":
    for column, value in zip(_SUBJECT, subject, strict=True):
        table = table.loc[table[column] == value]
    return table


def _section(
    results: "DataFrame",
    judged: Subject,
    *,
    layers: "DataFrame | None",
    epochs: "DataFrame | None",
    methods: Mapping[str, str] | None,
    planned: int | None,
    shares: Sequence[ImageShare],
    prefix: str,
    folder: Path,
    number: int,
) -> Section:
    subject, margin = f"{judged.network} on {judged.dataset}", judged.standard.margin
    found = figures(
        results,
        subject=subject,
        ranges=judged.ranges,
        standard=judged.standard,
        compared=judged.cells,
        layers=layers,
        epochs=epochs,
        methods=methods,
        prefix=prefix,
    )
    reword = judged.standard.metric.reworded
    # The curves of training are accuracies whatever a study is judged by.
    said = [one if one.name.endswith(LEARNING_CURVES) else one.reworded(reword) for one in found]
    drawn = [_drawn(figure, folder, number + at) for at, figure in enumerate(said)]
    cells = curves.points(results, judged.standard)
    sparsities, rows = curves.grid(cells)
    dense = curves.dense(cells)
    return Section(
        subject=subject,
        answer=words.answer(results, judged),
        trust=trust(judged, finished=len(results), planned=planned, shares=shares),
        notes=judged.notes,
        missing=words.missing(results),
        figures=drawn,
        claims=claim_views(judged),
        margin=margin,
        sparsities=[percent_number(sparsity) for sparsity in sparsities],
        numbers=[
            (
                theme.display_name(row.series),
                theme.display_name(row.ablation),
                row.prune_at,
                [curves.accuracy_text(row.points.get(sparsity)) for sparsity in sparsities],
            )
            for row in rows
        ],
        dense=curves.accuracy_text(dense),
    )


def _drawn(figure: Figure, folder: Path, number: int) -> FigureView:
    drawing = base64.b64encode(figure.save(folder).encode()).decode()
    return FigureView(figure=figure, drawing=f"data:image/svg+xml;base64,{drawing}", number=number)


def _ranges(judged: Judged) -> dict[str, Ranges]:
    found = [subject.ranges for subject in judged.subjects if tested(subject.ranges)]
    names = [f"{one.network} on {one.dataset}" for one in found]
    return {
        name if names.count(name) == 1 else f"{one.study}: {name}": one for name, one in zip(names, found, strict=True)
    }


def _render(
    sections: Sequence[Section],
    results: "DataFrame",
    *,
    study_name: str,
    reword: Callable[[str], str],
    facts: Mapping[str, str],
    methods: Mapping[str, str] | None,
    toml: str,
    folder: Path,
    ranges: Sequence[RangesView],
    ranges_figure: FigureView | None,
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prunemark.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["signed"] = signed
    environment.filters["reworded"] = reword
    environment.filters["shown"] = words.state_words
    labels = [str(name) for name in results["method"].drop_duplicates()]
    has_charts = any(section.figures for section in sections)
    bundle = _javascript() if has_charts else ""
    return environment.get_template("report.html.j2").render(
        study_name=study_name,
        sections=sections,
        facts=dict(facts),
        ranges=ranges,
        ranges_figure=ranges_figure,
        versions=[str(version) for version in dict.fromkeys(results["code_version"].dropna())],
        toml=toml,
        citations=citations([(methods or {}).get(label, label) for label in labels]),
        folder=folder.name,
        states=words.STATES,
        on_dark=theme.ON_DARK,
        bundle=bundle,
    )


@cache
def _javascript() -> str:
    import vl_convert

    bundle = vl_convert.javascript_bundle(snippet=_SNIPPET, vl_version=vega_lite_version())
    # The one way out of a script element is its end tag; "<\/" means the same to JavaScript.
    return bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--")

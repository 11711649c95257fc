import base64
import json
import math
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from prunemark.reports.page import write_report
from prunemark.stats import judge
from prunemark.stats.fitness import DenseRun
from tests.reports.conftest import SPARSITIES, frame, make_layers, make_results, row

EVIL = '<img src="https://example.org/x.png" onerror="alert(1)">'
FIGURES = ("accuracy", "differences", "ablations", "benchmark-ablations", "ranges")


@dataclass
class Page(HTMLParser):
    """A parsed page: its links, its scripts by type, its visible text and its elements."""

    text: str
    links: list[str] = field(default_factory=list)
    scripts: dict[str, list[str]] = field(default_factory=dict)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: str = ""
    _script: str | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        loading = ("src", "href", "srcset", "action", "poster", "data", "background", "formaction", "ping")
        self.links += [value or "" for name, value in attrs if name in loading]
        self._script = (dict(attrs).get("type") or "") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.words += data
        else:
            self.scripts.setdefault(self._script, []).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = None


def written(results: pd.DataFrame, out: Path, **facts: str) -> Page:
    path = write_report(results, judge(results), study_name="synthetic", facts=facts, out=out)
    assert path == out
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report") / "deep" / "down"


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    table = make_results()
    extra = [
        row(method=EVIL, replicate=0, test_accuracy=math.nan, status="failed"),
        row(method=EVIL, replicate=1, test_accuracy=0.1, status="diverged"),
        row(method=EVIL, replicate=2, test_accuracy=0.5),
    ]
    return written(
        pd.concat([table, frame(extra)], ignore_index=True), folder / "report.html", device="<cpu>", hours="0.1"
    )


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    assert page.links
    assert all(link.startswith("data:") for link in page.links)
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, flags=re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = (a["content"] or "" for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert not re.findall(r"https?:|\*|connect-src|unsafe-eval", policy)


def test_names_are_text_wherever_they_stand(page: Page) -> None:
    assert EVIL in page.words
    assert "https://example.org/x.png" not in page.links
    assert not [a for _, a in page.elements if "onerror" in a]
    assert "<cpu>" in page.words


def test_scripts_end_where_they_should(page: Page) -> None:
    bundle, ours = page.scripts["module"]
    assert "window.vegaEmbed=" in bundle.replace(" ", "")
    assert "vegaEmbed(live" in ours
    assert json.loads(page.scripts["application/json"][-1])["#1b1f24"]


def test_charts_are_live_and_static_and_carry_the_numbers(page: Page) -> None:
    specs = [json.loads(text) for text in page.scripts["application/json"][:-1]]
    images = [a for t, a in page.elements if t == "img"]
    assert len(specs) == len(images) == len(FIGURES)
    for spec, image in zip(specs, images, strict=True):
        assert spec["$schema"].endswith(".json")
        assert image["alt"]
        assert image["alt"] == spec["description"]
        svg = base64.b64decode((image["src"] or "").removeprefix("data:image/svg+xml;base64,"))
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    data = [value for one in specs[0]["datasets"].values() for value in one]
    remaining = {round(v["remaining"], 6) for v in data if "remaining" in v and v["line"] != EVIL}
    assert remaining == {round(100 * (1 - s), 6) for s in SPARSITIES}


def test_figures_lie_beside_the_page(page: Page, folder: Path) -> None:
    figures = folder / "report-figures"
    assert {path.name for path in figures.iterdir()} == {
        f"{n}.{kind}" for n in FIGURES for kind in ("svg", "png", "pdf")
    }
    for name in FIGURES:
        root = ElementTree.fromstring((figures / f"{name}.svg").read_text(encoding="utf-8"))
        png = (figures / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert (figures / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
        width, height = struct.unpack(">II", png[16:24])
        assert width == pytest.approx(2 * float(root.attrib["width"]), abs=2)
        assert height == pytest.approx(2 * float(root.attrib["height"]), abs=2)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["report.html"]


def test_claims_cells_facts_and_gaps_are_told(page: Page) -> None:
    assert sum(tag == "details" and a.get("class") == "claim" for tag, a in page.elements) == 16
    for words in ("C1", "C0a", "supported", "contradicted", "matching", "beyond the margin", "a margin of 0.5 points"):
        assert words in page.words
    assert "the study has no such comparison" in page.words
    assert "1 of 758 runs failed and is left out." in page.words
    assert "1 diverged and counts with the accuracy it ended with." in page.words
    assert "nan" not in page.words.lower().split()
    headers = [a for tag, a in page.elements if tag == "th"]
    assert all(a.get("scope") in ("row", "col") for a in headers)


def test_a_study_that_cannot_test_the_claims_says_so_first(tmp_path: Path) -> None:
    table = make_results(methods=("random", "snip"), sparsities=(0.8, 0.95), replicates=3)
    runs = [DenseRun(replicate=r, gain=20.0) for r in range(3)]
    out = write_report(table, judge(table, runs=runs), study_name="s", facts={}, out=tmp_path / "r.html")
    page = Page(out.read_text(encoding="utf-8"))
    assert "This study cannot test the paper's claims" in page.words.split("How far to trust it")[0]
    assert "not tested here" in page.words
    assert not [a for _, a in page.elements if a.get("class") in ("badge supported", "badge contradicted")]


def test_what_to_cite_and_how_to_repeat_it(tmp_path: Path) -> None:
    table = make_results(methods=("random", "mine"), sparsities=(0.8,), replicates=1)
    out = write_report(
        table,
        judge(table),
        study_name="s",
        facts={"Command": "prunemark run s.toml"},
        out=tmp_path / "r.html",
        methods={"mine": "snip:official", "random": "random"},
        toml='name = "s"\n[recipe]\nepochs = 3\n',
        planned=99,
    )
    page = Page(out.read_text(encoding="utf-8"))
    for text in ("frankle2021pruning", "lee2019snip", "namhoonlee/snip-public", "@software{prunemark", "epochs = 3"):
        assert text in page.words
    assert "tanaka" not in page.words
    assert f"{len(table)} of 99 trials have finished" in page.words


def test_a_report_without_any_result_says_so(tmp_path: Path) -> None:
    page = written(frame([]), tmp_path / "report.html")
    assert "This study has no results yet." in page.words
    failed = frame([row(test_accuracy=math.nan, status="failed")])
    assert "nothing to draw" in written(failed, tmp_path / "report.html").words


def test_every_experiment_is_shown_and_numbered(tmp_path: Path) -> None:
    table = make_results(
        methods=("random", "snip", EVIL),
        prune_at=("0ep", "2ep"),
        benchmarks=("magnitude-after-training", "lottery-rewinding:2ep", "lottery-rewinding:0ep"),
        sparsities=(0.2, 0.95),
        replicates=3,
    )
    layers = pd.concat([make_layers(), make_layers((EVIL,)), make_layers().assign(network="other")])
    out = write_report(
        table,
        judge(table),
        study_name="s",
        facts={},
        out=tmp_path / "r.html",
        layers=layers,
        methods={EVIL: "snip"},
    )
    page = Page(out.read_text(encoding="utf-8"))
    specs = [json.loads(text) for text in page.scripts["application/json"][:-1]]
    assert [spec["title"]["text"] for spec in specs] == [
        "Accuracy against sparsity",
        "How far from the mark",
        "What the methods know: shuffled, reinitialised, inverted",
        "What pruning after training knows",
        "Accuracy against the step of pruning",
        "Where the weights remain",
        "How many inputs a unit keeps",
        "Dead units",
        "Variants of a method",
        "Trivial, matching and extreme sparsities",
    ]
    assert re.findall(r"Figure (\d+)\.", page.words) == [str(number) for number in range(1, 11)]
    assert "lottery ticket rewinding (2ep)" in page.words  # in the table of all numbers
    assert not [a for _, a in page.elements if "onerror" in a]


def test_the_ranges_of_all_networks_are_one_table(tmp_path: Path) -> None:
    one = make_results(methods=("random", "snip"), ablations=("unmodified",))
    both = pd.concat([one, one.assign(network="vgg-16", test_accuracy=one.test_accuracy * 0.9)], ignore_index=True)
    page = written(both, tmp_path / "both.html")
    (table,) = re.findall(
        r'<table>\n<thead><tr><th scope="col">network and data.*?</table>', page.text, flags=re.DOTALL
    )
    rows = [re.sub(r"<[^>]+>", "|", line) for line in re.findall(r"<tr><th scope=\"row\">.*?</tr>", table)]
    assert len(rows) == 2
    assert rows[0].startswith("||resnet-20 on cifar-10|||20 %||")
    assert rows[1].startswith("||vgg-16 on cifar-10||")
    assert (tmp_path / "both-figures" / "ranges.svg").is_file()


def test_two_networks_get_a_section_and_files_each(tmp_path: Path) -> None:
    tables = [
        make_results(methods=("snip",), benchmarks=(), ablations=("unmodified",), replicates=1).assign(network=name)
        for name in ("resnet-20", "vgg-16")
    ]
    page = written(pd.concat(tables, ignore_index=True), tmp_path / "both.html")
    assert "resnet-20 on cifar-10" in page.words
    assert "vgg-16 on cifar-10" in page.words
    assert "Figure 2." in page.words
    assert {path.name for path in (tmp_path / "both-figures").glob("*.svg")} == {
        "synthetic-resnet-20-cifar-10-accuracy.svg",
        "synthetic-vgg-16-cifar-10-accuracy.svg",
    }

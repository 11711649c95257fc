"""The page as a browser shows it: Debian's Chromium, driven by Playwright, judged by axe-core."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from prunemark.reports.page import write_report
from prunemark.stats import judge
from tests.reports.conftest import make_layers, make_results
from tests.reports.test_learning_curves import epochs

WAIT_MS = 120_000
PHONE, DESKTOP = 390, 1280
FACTS = {"Network": "resnet-20", "Recipe": "epochs = 160, lr = 0.1", "Command": "prunemark run synthetic.toml"}


@dataclass
class Shown:
    """An open page and what it did besides being shown: console messages, errors, requests."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.settle()

    def settle(self) -> None:
        """Wait until every figure is live."""
        figures = self.page.locator("figure").count()
        assert figures > 3
        expect(self.page.locator("figure.shown")).to_have_count(figures, timeout=WAIT_MS)

    def violations(self) -> list[str]:
        """Problems that axe-core finds in the page as it is now."""
        axe = resources.files("axe_playwright_python") / "axe.min.js"
        self.page.evaluate(axe.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate("axe.run()")["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every kind of figure but the steps of pruning."""
    table = make_results(
        methods=("random", "snip", "snip:official", "grasp"), sparsities=(0.2, 0.8, 0.95), replicates=3
    )
    layers = make_layers(("random", "snip")).assign(effective=20, dead_units=2, units=10)
    curves = pd.concat([epochs("snip", sparsity=0.95), epochs("dense", sparsity=0.0, prune_at="")], ignore_index=True)
    return write_report(
        table,
        judge(table, images=500),
        study_name="synthetic",
        facts=FACTS,
        out=tmp_path_factory.mktemp("browser") / "report.html",
        layers=layers,
        epochs=curves,
        planned=len(table) + 12,
        toml='name = "synthetic"\n',
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "these tests need Debian's chromium; `make .venv/dev` installs it"
    with sync_playwright() as playwright:
        # Root, as in containers, cannot have Chromium's sandbox; the page is our own.
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def shown(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Shown]:
    width, scheme = getattr(request, "param", (DESKTOP, "light"))
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(WAIT_MS)
    shown = Shown(context.new_page())
    shown.open(report)
    yield shown
    assert shown.said == [], "a page that works has nothing to say"
    assert shown.asked == [report.as_uri()], "a page that holds everything asks for nothing"
    context.close()


@pytest.mark.parametrize(
    "shown", [(DESKTOP, "light"), (PHONE, "dark")], indirect=True, ids=["desktop, light", "phone, dark"]
)
def test_the_page_is_accessible_and_fits_its_window(shown: Shown) -> None:
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not shown.page.evaluate(wide)
    for claim in shown.page.locator("details.claim summary").all()[:3]:
        claim.click()
    assert shown.violations() == []
    ground = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = shown.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
    # Names beside the lines where there is room for them, a legend where there is not.
    svg = shown.page.locator("figure svg").first
    names = svg.locator("g.role-legend").count()
    assert names == (1 if shown.page.viewport_size["width"] == PHONE else 0)  # pyright: ignore


def test_it_answers_first_then_says_how_far_to_trust_it_then_claims_then_figures(shown: Shown) -> None:
    words = shown.page.locator("main").inner_text()
    order = ["shuffl", "How far to trust it", "trials have finished", "The paper’s claims", "Figure 1."]
    places = [words.index(text) for text in order]
    assert places == sorted(places)


def test_hovering_tells_a_point_and_a_click_picks_out_its_line(shown: Shown) -> None:
    figure = shown.page.locator("figure").first
    point = figure.locator("g.mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tip = shown.page.locator("#vg-tooltip-element")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("interval")
    name = figure.locator("svg text", has_text="GraSP").first
    lines = figure.locator("g.mark-line path")

    def strengths() -> list[float]:
        return [float(line.get_attribute("opacity") or 1) for line in lines.all()]

    assert set(strengths()) == {1}
    name.click(force=True)
    expect(figure.locator('g.mark-line path[opacity="0.1"]')).not_to_have_count(0)
    assert strengths().count(1) == 1
    name.click(force=True)
    expect(figure.locator('g.mark-line path[opacity="0.1"]')).to_have_count(0)


def test_on_paper_drawings_are_static_and_claims_open(shown: Shown) -> None:
    shown.page.emulate_media(media="print", color_scheme="light")
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    figures = shown.page.locator("figure").count()
    assert shown.page.locator("figure .static img:visible").count() == figures
    assert shown.page.locator("figure .live:visible").count() == 0
    claims = shown.page.locator("details.claim").count()
    assert shown.page.locator("details.claim[open]").count() == claims > 5
    assert shown.page.pdf(format="A4").startswith(b"%PDF-")


def test_without_scripts_there_is_everything_but_interaction(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    figures = page.locator("figure").count()
    assert page.locator("figure .static img:visible").count() == figures > 3
    context.close()


def test_the_policy_allows_no_evaluation_of_text(shown: Shown) -> None:
    policy = shown.page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content") or ""
    assert "unsafe-eval" not in policy
    blocked = "(() => { try { return Function('return 1')(); } catch (error) { return error.name; } })()"
    # Later, because what a driver evaluates is itself exempt.
    script = f"setTimeout(() => {{ window.tried = {blocked} }})"
    shown.page.evaluate(
        f"(() => {{ const s = document.createElement('script'); s.textContent = {json.dumps(script)};"
        " document.body.append(s); })()"
    )
    shown.page.wait_for_timeout(500)
    assert shown.page.evaluate("window.tried") == "EvalError"

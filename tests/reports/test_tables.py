import io

import pandas as pd
import pytest
from rich.console import Console, RenderableType

from prunemark.reports import theme
from prunemark.reports.tables import claims_table, ranges_table, results_table
from prunemark.stats import judge
from tests.reports.conftest import frame, make_results, row


def printed(table: RenderableType, *, width: int, encoding: str = "utf-8") -> str:
    sink = io.BytesIO()
    stream = io.TextIOWrapper(sink, encoding=encoding)
    Console(width=width, file=stream, force_terminal=False).print(table)
    stream.flush()
    return sink.getvalue().decode(encoding)


@pytest.fixture(scope="module")
def swept() -> pd.DataFrame:
    return make_results(prune_at=("0ep", "10ep"))


@pytest.mark.parametrize("width", [80, 120])
def test_claims_fit_the_terminal_and_no_word_is_cut(swept: pd.DataFrame, width: int) -> None:
    text = printed(claims_table(judge(swept)), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for word in ("C0", "C7a", "supported", "contradicted", "magnitude after training", "SNIP", "extreme", "matching"):
        assert word in text


def test_the_answer_comes_first(results: pd.DataFrame) -> None:
    judged = judge(results)
    lines = printed(claims_table(judged), width=500).splitlines()
    assert lines[0].strip() == judged.subjects[0].sentences(theme.display_name)[0]
    both = pd.concat([results, results.assign(network="vgg-16")], ignore_index=True)
    assert printed(claims_table(judge(both)), width=500).startswith("resnet-20 on cifar-10: At ")


def test_every_finding_is_there_with_difference_and_interval(results: pd.DataFrame) -> None:
    judged = judge(results)
    text = printed(claims_table(judged), width=80)
    one = next(f for f in judged.subjects[0].findings if f.claim == "C2" and f.subject == "snip")
    assert one.effect is not None
    assert f"{one.effect.difference:+.2f} ✓" in text
    assert "Not tested here: C4b, C7a, C7b, C8." in text


def test_a_terminal_without_unicode_gets_ascii_marks(results: pd.DataFrame) -> None:
    text = printed(claims_table(judge(results)), width=100, encoding="ascii")
    assert "+ supported, x contradicted, ? open" in text


def test_one_replicate_leaves_everything_open() -> None:
    text = printed(claims_table(judge(make_results(replicates=1, sparsities=(0.9,)))), width=80)
    assert "nan" not in text
    assert "supported" not in text.replace("✓ supported", "")


def test_a_name_is_never_markup() -> None:
    rows = [row(method=m, replicate=i) for m in ("[bold]mine[/]", "random") for i in range(3)]
    text = printed(claims_table(judge(frame(rows))), width=80)
    assert "[bold]mine[/]" in text
    assert "[bold]mine[/]" in printed(results_table(frame(rows)), width=80)


def test_rewinding_to_further_steps_is_counted_not_listed() -> None:
    names = ("lottery-rewinding", "lottery-rewinding:0ep", "lottery-rewinding:2ep")
    text = printed(results_table(make_results(benchmarks=names, ablations=("unmodified",))), width=100)
    assert text.count("lottery ticket rewinding") == 2  # the table goes on below
    assert "Rewinding to 2 further steps is in the report." in text


def test_ranges_table_says_the_highest_matching_sparsity(results: pd.DataFrame) -> None:
    both = pd.concat([results, results.assign(network="vgg-16")], ignore_index=True)
    text = " ".join(printed(ranges_table(judge(both)), width=80).split())
    for network in ("resnet-20", "vgg-16"):
        assert (
            f"{network} on cifar-10: Of the sparsities run: matching at 20 %, extreme at 51.2 to 98 %. "
            "Highest matching sparsity: 20 %."
        ) in text


def test_results_table_has_mean_and_deviation() -> None:
    rows = [row(replicate=i, test_accuracy=a) for i, a in enumerate((0.9, 0.92))]
    rows += [row(replicate=0, sparsity=0.5, test_accuracy=0.95), row(method="dense", sparsity=0.0, prune_at="")]
    text = printed(results_table(frame(rows)), width=80)
    assert "91.00 ± 1.41" in text
    assert "95.00" in text
    assert "dense network 85.00" in text


def test_a_study_in_which_nothing_prunes_has_its_dense_network() -> None:
    text = printed(results_table(frame([row(method="dense", sparsity=0.0, prune_at="", test_accuracy=0.5)])), width=99)
    assert "dense network 50.00" in text
    assert "Nothing was pruned" in text

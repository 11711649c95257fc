import numpy as np
import pandas as pd
import pytest

from prunemark.reports.trust import trust
from prunemark.stats import Subject, judge
from prunemark.stats.fitness import DenseRun
from prunemark.stats.images import image_shares
from prunemark.stats.looks import Looks
from tests.reports.conftest import make_results
from tests.stats.test_images import with_images


def remarks(subject: Subject, **more: int) -> dict[str, str]:
    return {one.about: one.text for one in trust(subject, **more)}


def test_replicates_images_and_questions(results: pd.DataFrame) -> None:
    (subject,) = judge(results, images=500).subjects
    found = remarks(subject)
    assert found["Replicates"] == "5 per comparison; 5 runs cannot exclude a failure that strikes up to 45 % of them."
    assert found["Test images"] == "500; one image is worth 0.2 points."
    done, total = subject.settled
    assert found["Settled"].startswith(f"{done} of {total} questions settled at a margin of 0.5 points.")
    assert "A question is one claim about one method or benchmark" in found["Settled"]
    assert found["Not run"] == "The study has nothing to compare for C4b, C7a, C7b, C8."
    assert found["Resolution"].startswith("Half of the intervals are narrower than ±")


def test_a_study_that_stopped_half_way_says_how_much_there_is(results: pd.DataFrame) -> None:
    stopped = results[(results.replicate < 3) | (results.method.isin(["dense", "random", "snip"]))]
    (subject,) = judge(stopped).subjects
    found = remarks(subject, finished=len(stopped), planned=len(results))
    assert found["Not run"].startswith(
        f"{len(stopped)} of {len(results)} trials have finished; the rest count in nothing"
    )
    assert "3 to 5 per comparison" in found["Replicates"]
    assert "takes the replicates that both of its sides have" in found["Replicates"]
    assert "trials" not in remarks(subject, finished=9, planned=9)["Not run"]


def test_looks_are_named(results: pd.DataFrame) -> None:
    (subject,) = judge(results, looks=Looks(min=3, max=12)).subjects
    assert "judged at look 2 of 4, with intervals that allow for every look" in remarks(subject)["Replicates"]


def test_the_share_of_the_test_set_is_told_for_each_number_of_the_conclusion() -> None:
    table, bits = with_images(make_results(sparsities=(0.2, 0.512)))
    (subject,) = judge(table).subjects
    shares = image_shares(table, bits, subject)
    (text,) = (one.text for one in trust(subject, shares=shares) if one.about == "Test set’s share")
    for part in ("what shuffling does to the methods", "magnitude pruning after training", "the contrast of the two"):
        assert part in text
    assert f"{100 * shares[0].split.share_of_images:.0f} %" in text
    assert not np.isnan(shares[0].split.share_of_images)


@pytest.mark.parametrize(("last", "words"), [(90.0, "had levelled off"), (95.0, "had not levelled off (+5.00 points")])
def test_fitness_is_told(results: pd.DataFrame, last: float, words: str) -> None:
    run = DenseRun(replicate=0, gain=last - 90, overlaps={0.95: 0.2})
    (subject,) = judge(results, runs=[run]).subjects
    text = remarks(subject)["Training"]
    assert words in text
    assert "20 % of the 95 % sparse magnitude mask after training is that of the initial weights (chance: 5 %)" in text
    assert "stands above random pruning" in text

"""Metrics: names, directions, units, and how sentences call them."""

import pytest

from prunemark.terms.metrics import METRICS, metric_of


def test_a_task_has_its_usual_metric():
    assert metric_of(None).name == metric_of("accuracy", task="regression").name == "accuracy"
    assert metric_of(None, task="regression") is METRICS["loss"]


def test_scores_are_in_units_and_higher_is_better():
    own = metric_of({"name": "mine.py:error", "direction": "lower", "unit": "dB"})
    assert (own.score(2.0), METRICS["loss"].score(0.25), METRICS["accuracy"].score(0.25)) == (-2, -250, 25)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("accurac", r'unknown metric "accurac".*did you mean "accuracy".*"FILE.py:metric"'),
        (
            "mine.py:error",
            r'mine.py:error has no direction: { name = "mine.py:error", direction = "higher" } or "lower"',
        ),
        ({"name": "mine.py:error", "direction": "up"}, "has the direction 'up'"),
        ({"name": "loss", "direction": "lower"}, "the direction and unit of loss are known"),
        ({"direction": "lower"}, "a metric is a name, or a table"),
        ({"name": "mine.py:error", "direction": "lower", "margin": 1}, "a table of name, direction and unit"),
    ],
)
def test_what_is_no_metric_is_said(given, message):
    with pytest.raises(ValueError, match=message):
        metric_of(given)


def test_sentences_are_about_the_metric():
    sentence = "Shuffling keeps the accuracy and costs +0.20 points; the margin is 5 percentage points."
    assert METRICS["accuracy"].reworded(sentence) == sentence
    assert METRICS["loss"].reworded(sentence) == (
        "Shuffling keeps the test loss and costs +0.20 thousandths; the margin is 5 thousandths."
    )
    assert METRICS["loss"].reworded("test accuracy (%), mean") == "minus test loss (thousandths), mean"
    assert METRICS["loss"].reworded("minus magnitude after training (points)").endswith("(thousandths)")
    for sentence in (
        "shuffling changes the accuracy of snip by -3 points",
        "shuffling changes accuracy of snip by -3 points",
    ):
        # The loss rose.
        assert METRICS["loss"].reworded(sentence) == "shuffling changes minus the test loss of snip by -3 thousandths"
    assert METRICS["accuracy"].legend == ""
    assert "minus the test loss, in thousandths" in METRICS["loss"].legend

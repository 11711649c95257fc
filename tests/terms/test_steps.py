import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemark.terms.steps import Step


@pytest.mark.parametrize(
    ("text", "step"), [("0ep", 0), ("0it", 0), ("250it", 250), ("2ep", 22), ("0.5ep", 6), ("end", 330), ("30ep", 330)]
)
def test_a_step_of_a_training_of_30_epochs_of_11_steps(text, step):
    assert Step.parse(text).at(steps_per_epoch=11, total_steps=330) == step


@given(st.integers(0, 10**6), st.sampled_from(["it", "ep"]))
def test_text_round_trip(count, unit):
    assert Step.parse(str(Step.parse(f"{count}{unit}"))) == Step.parse(f"{count}{unit}")


@pytest.mark.parametrize("bad", ["", "10", "ep", "-1ep", "1.5it", "10 ep", "END", "1e3it"])
def test_anything_else_is_refused(bad):
    with pytest.raises(ValueError, match="not"):
        Step.parse(bad)


def test_a_step_after_the_end_is_refused():
    with pytest.raises(ValueError, match="31ep is step 341, after the end of training"):
        Step.parse("31ep").at(steps_per_epoch=11, total_steps=330)

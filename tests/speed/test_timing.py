"""Two ways timed in turn."""

import itertools

from prunemark.speed.timing import Comparison, measure


def test_the_median_of_the_ratios_of_runs_in_turn():
    # Seconds of each call: ours, then theirs; the first of each is not timed.
    seconds = iter([9.0, 9.0, 1.0, 3.0, 2.0, 3.0, 10.0, 40.0])
    now, calls = 0.0, list[str]()

    def work(name):
        nonlocal now
        calls.append(name)
        now += next(seconds)

    comparison = Comparison(
        what="a step", rival="another", ours=lambda: work("ours"), theirs=lambda: work("theirs"), count=4
    )
    found = measure(comparison, rounds=3, clock=lambda: now)
    assert calls == ["ours", "theirs"] * 4
    assert (found.ours_ms, found.rival_ms, found.ratio) == (500, 750, 3)  # 1, 2, 10; 3, 3, 40; 3, 1.5, 4
    assert next(itertools.chain(seconds, [None])) is None

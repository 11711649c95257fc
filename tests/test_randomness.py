import pytest
import torch

from prunemark.randomness import derive, generator


def test_seeds_do_not_change_between_versions():
    # Stored results depend on these numbers.
    assert derive(0, "weights") == 4500852436364262068
    assert derive(1, "order", 3) == 4821393396944532480


@pytest.mark.parametrize("seed", [None, "a", 1.5, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match=f"a seed is a whole number; got {seed!r}"):
        derive(seed, "weights")


def test_purposes_are_independent():
    seeds = {derive(s, *p) for s in (0, 1) for p in [("a",), ("b",), ("a", 1), ("a", "1"), ("a1",), ()]}
    assert len(seeds) == 12


def test_generators_leave_the_global_state_alone():
    state = torch.get_rng_state()
    first = torch.rand(3, generator=generator(0, "x"))
    assert torch.equal(first, torch.rand(3, generator=generator(0, "x")))
    assert torch.equal(torch.get_rng_state(), state)

"""Methods from options, functions and objects: switches are read once, and a misspelt one is an error."""

import functools
from dataclasses import dataclass
from typing import Any

import pytest

from prunemark.methods import METHODS, Custom, Method, Problem, resolve


def scoring(problem: Problem) -> Any:
    return dict(problem.weights)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Knows nothing of `Method`."""

    rounds: int = 3
    power: float = 2.0
    revives = True

    def __call__(self, problem: Problem, /) -> Any:
        return {name: weight.abs() ** self.power for name, weight in problem.weights.items()}


class Plain:
    ordinary_batch = 5

    def __call__(self, problem: Problem, /) -> Any:
        return dict(problem.weights)


@dataclass(frozen=True, kw_only=True)
class Own(Method):
    revives: bool = True

    def __call__(self, problem: Problem, /) -> Any:
        return dict(problem.weights)


def switches(method: Method) -> tuple[Any, ...]:
    return (method.rounds, method.examples_per_class, method.ordinary_batch, method.revives, method.keeps_ceiling)


def test_whatever_scores_becomes_a_method_with_its_own_switches() -> None:
    assert switches(resolve(scoring)) == (1, 10, None, False, False)
    assert switches(resolve(Foreign())) == switches(resolve(Foreign)) == (3, 10, None, True, False)
    assert switches(resolve(Plain())) == (1, 10, 5, False, False)
    assert switches(resolve(Own)) == (1, 10, None, True, False)
    assert switches(resolve(Own, revives=False)) == (1, 10, None, False, False)
    assert switches(resolve(functools.partial(scoring))) == (1, 10, None, False, False)
    own = Custom(function=scoring, revives=True, rounds=4)
    assert resolve(own) is own


def test_a_function_may_carry_switches() -> None:
    def several(problem: Problem) -> Any:
        return dict(problem.weights)

    several.rounds = 7  # pyright: ignore[reportFunctionMemberAccess]
    assert resolve(several).rounds == 7


def test_a_methods_facts_are_those_of_what_scores() -> None:
    assert resolve(Foreign(power=3.0)).facts() == ("Foreign", {"rounds": 3, "power": 3.0})
    assert resolve(scoring).facts() == ("scoring", {})
    assert resolve("snip").facts() == ("Snip", {"rounds": 1, "examples_per_class": 10, "bn": "train"})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("revive", "revives"),
        ("round", "rounds"),
        ("keep_ceiling", "keeps_ceiling"),
        ("example_per_class", "examples_per_class"),
    ],
)
@pytest.mark.parametrize("base", [Method, object])
def test_a_misspelt_switch_is_an_error(base: type, wrong: str, right: str) -> None:
    kind: Any = type("Mine", (base,), {wrong: 1, "__call__": scoring})
    with pytest.raises(ValueError, match=f'Mine: unknown switch "{wrong}"; known: .*; did you mean "{right}"'):
        resolve(kind())


def test_a_switch_has_the_type_that_it_is_said_to_have() -> None:
    for base in (Method, object):
        kind: Any = type("Mine", (base,), {"revives": "yes", "__call__": scoring})
        with pytest.raises(ValueError, match="Mine: revives is True or False; got 'yes'"):
            resolve(kind())


def test_what_a_method_fixes_is_no_option_of_it() -> None:
    for name, option in (("force", "revives"), ("synflow", "reuses_weights"), ("magnitude", "examples_per_class")):
        with pytest.raises(ValueError, match=f'{name}: unknown option "{option}"'):
            resolve(name, **{option: 1})


@pytest.mark.parametrize("name", METHODS)
def test_rounds_are_those_of_the_table(name: str) -> None:
    kind = METHODS[name].load()
    if name != "iter-snip":  # SNIP, but in rounds
        assert kind().rounds == resolve(name).rounds == METHODS[name].rounds

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prunemark.datasets import Dataset, dataset
from prunemark.masks import Masks
from prunemark.networks import network
from prunemark.parts import Keeper
from prunemark.pruning import prune
from prunemark.pruning.unscored import UnscoredWarning
from prunemark.recipes import Recipe
from prunemark.training import Trained, train
from prunemark.training.engines.sparse.kernels import available_kernels

RECIPE = Recipe(epochs=2, batch_size=300, lr=0.1, augment=("flip",))


class StoppedError(Exception):
    pass


class Stops(Keeper):
    """Keeps the state after the steps it is told, and ends the work after some of them."""

    def __init__(self, place: Path, keeps: set[int], ends: int = 0, **identity: str) -> None:
        self.said: list[dict[str, Any]] = []
        super().__init__(place, every_s=1e9, identity=identity, tell=self.said.append)
        self.keeps, self.ends = keeps, ends

    def due(self, at: int) -> bool:
        if at == self.ends:
            raise StoppedError
        return at in self.keeps


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return dataset("digits")


def equal(trained: Trained, other: Trained) -> None:
    assert str(trained.history) == str(other.history)
    assert (trained.test_accuracy, trained.test_loss) == (other.test_accuracy, other.test_loss)
    for part in ("model", "momentum"):
        ours, theirs = getattr(trained.checkpoint, part), getattr(other.checkpoint, part)
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), part


ENGINES = ["dense", *(["sparse"] if available_kernels() else [])]


def small(classes: int = 10) -> nn.Module:
    """With all that a training may carry along: BatchNorm's statistics, and dropout's draws in the dense engine."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, classes)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_training_that_is_stopped_anywhere_comes_to_the_same(digits: Dataset, tmp_path: Path, engine: str) -> None:
    steps, per_epoch = RECIPE.total_steps(len(digits.train)), RECIPE.steps_per_epoch(len(digits.train))
    assert 1 < per_epoch < steps, "it is stopped between two epochs, and within them"

    def trained(keeper: Keeper | None) -> Trained:
        model = small()
        if engine == "dense":
            model.insert(3, nn.Dropout(0.2))
        masks = prune(model, "magnitude", sparsity=0.5)
        return train(
            model,
            digits.train,
            RECIPE,
            seed=3,
            masks=masks,
            test=digits.test,
            evaluate_every_epoch=True,
            engine=engine,
            keeper=keeper,
        )

    expected = trained(None)
    for kept in range(1, steps):
        place = tmp_path / f"{kept}.part"
        with pytest.raises(StoppedError):
            trained(Stops(place, {kept}, ends=kept + 1))
        again = Stops(place, set())
        equal(trained(again), expected)
        assert again.said == [{"step": kept, "resumed_at": kept}]


METHODS = ["synflow", "force", "iter-snip", "ntk-sap"]


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_rounds_of_pruning_that_are_stopped_come_to_the_same(
    digits: Dataset, tmp_path: Path, method: str, invert: bool
) -> None:
    def pruned(keeper: Keeper | None) -> Masks:
        # So sparse that weights are unscored, which is counted over the rounds.
        return prune(
            network("lenet-300-100", input_shape=digits.input_shape, classes=10, seed=0, width=0.1),
            method,
            sparsity=0.999,
            data=digits,
            rounds=5,
            invert=invert,
            keeper=keeper,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnscoredWarning)
        expected = pruned(None)
        for kept in (1, 3):
            place = tmp_path / f"{kept}.part"
            with pytest.raises(StoppedError):
                pruned(Stops(place, {kept}, ends=kept + 1))
            again = Stops(place, set())
            found = pruned(again)
            assert again.said == [{"step": kept, "resumed_at": kept}]
            assert found.provenance == expected.provenance
            assert list(found) == list(expected)
            assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_part_that_is_damaged_or_of_another_program_is_as_good_as_none(tmp_path: Path) -> None:
    keeper = Stops(tmp_path / "a.part", set(), version="1")
    assert keeper.kept() is None
    keeper.keep(7, {"a": torch.ones(3)}, {"b": [math.pi]})
    part = keeper.kept()
    assert part is not None
    assert (part.at, part.facts, part.tensors["a"].tolist()) == (7, {"b": [math.pi]}, [1, 1, 1])
    assert Stops(tmp_path / "a.part", set(), version="2").kept() is None
    content = bytearray((tmp_path / "a.part").read_bytes())
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / "a.part").write_bytes(damaged)
        assert keeper.kept() is None
        (tmp_path / "a.part").write_bytes(content[:position])
        assert keeper.kept() is None
    assert keeper.said[0] == {"step": 7, "resumed_at": 7}
    assert keeper.said[1:] == [{"note": "the checkpoint of how far it was is damaged"}] * (len(keeper.said) - 1)


def test_a_state_is_kept_every_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("prunemark.parts.time.monotonic", lambda: now[0])
    said: list[dict[str, Any]] = []
    keeper = Keeper(tmp_path / "a.part", every_s=10, identity={}, tell=said.append)
    due: list[int] = []
    for step in range(1, 26):
        now[0] += 1
        if keeper.due(step):
            due.append(step)
            keeper.keep(step, {}, {})
    assert due == [10, 20]
    assert said == [{"step": step} for step in range(2, 26, 2)]


class Slows(nn.Module):
    """Its outputs depend on how often it was called, which no state dict says."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = small(), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.inner(images) / self.calls


def test_a_training_that_carries_more_than_a_state_dict_begins_again(digits: Dataset, tmp_path: Path) -> None:
    def trained(keeper: Keeper | None) -> Trained:
        return train(Slows(), digits.train, RECIPE, seed=0, test=digits.test, evaluate_every_epoch=True, keeper=keeper)

    place = tmp_path / "x.part"
    with pytest.raises(StoppedError):
        trained(Stops(place, keeps={2}, ends=4))
    assert not place.exists()
    equal(trained(Stops(place, keeps=set())), trained(None))

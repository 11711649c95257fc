"""The experiments E1 to E7 of the paper (spec.md, section 6), for each network, at two scales."""

import pytest

from prunemark.recipes import REPLICATES
from prunemark.study.files import studies
from prunemark.study.plan import plan
from prunemark.study.spec import Study

SETTINGS = {
    "paper": {
        "lenet-300-100": ("lenet-300-100", "mnist"),
        "lenet-300-100-fashion": ("lenet-300-100", "fashion-mnist"),
        "resnet-20": ("resnet-20", "cifar-10"),
        "vgg-16": ("vgg-16", "cifar-10"),
        "resnet-18": ("resnet-18", "tinyimagenet"),
        "resnet-18-modified": ("resnet-18-modified", "tinyimagenet"),
        "resnet-50": ("resnet-50", "imagenet"),
    },
    "laptop": {"digits": ("resnet-8", "digits"), "fashion-mnist": ("lenet-300-100", "fashion-mnist")},
}
ALL = [(scale, setting) for scale, settings in SETTINGS.items() for setting in settings]
EXPERIMENTS = ("e1", "e2", "e3", "e4", "e5", "e6", "e6-init", "e7")
FIVE = ["random", "magnitude", "snip", "grasp", "synflow"]
BENCHMARKS = ("magnitude-after-training", "lottery-rewinding")
ABLATIONS = ("shuffle", "reinit", "invert")


def experiment(scale: str, name: str, setting: str) -> Study:
    return Study.load(f"{scale}/{name}-{setting}")


def names(study: Study) -> list[str]:
    return [method.name for method in study.methods]


def test_there_is_a_study_for_each_experiment_network_and_scale() -> None:
    expected = {f"{scale}/{name}-{setting}" for scale, setting in ALL for name in EXPERIMENTS}
    others = {f"{scale}/{setting}" for scale, setting in ALL} | {"quickstart", "laptop/later-digits"}
    assert set(studies()) == expected | others


@pytest.mark.parametrize(("scale", "setting"), ALL)
def test_every_experiment_is_planned(scale: str, setting: str) -> None:
    network, data = SETTINGS[scale][setting]
    for prefix in ("", *(f"{name}-" for name in EXPERIMENTS)):
        study = Study.load(f"{scale}/{prefix}{setting}")
        assert study.name == f"{scale}-{prefix}{setting}"
        assert (study.network, study.dataset) == (network, data)
        assert study.replicates == REPLICATES.get((network, data), 5 if scale == "paper" else study.replicates) >= 3
        assert study.recipe == {} or scale == "laptop", "at the paper's scale the recipe is the network's own"
        assert plan(study).trials


@pytest.mark.parametrize(("scale", "setting"), ALL)
def test_each_experiment_asks_its_question(scale: str, setting: str) -> None:
    e1, e2, e3, e4, e5, e6, init, e7 = (experiment(scale, name, setting) for name in EXPERIMENTS)
    assert names(e1) == FIVE
    assert set(BENCHMARKS) <= set(e1.benchmarks)
    assert e1.ablations == ()
    # The matching range is shaded where magnitude pruning after training and random pruning show it.
    assert (names(e2), e2.benchmarks, e2.ablations) == (FIVE, ("magnitude-after-training",), ABLATIONS)
    assert (names(e3), e3.benchmarks, e3.ablations) == ([], BENCHMARKS, ABLATIONS)
    assert names(e4) == FIVE[1:]
    assert e4.prune_at[0] == "0ep"
    assert len(e4.prune_at) >= 4
    # One dense run a replicate, cut at each step; rewound to each step at which methods prune.
    assert e4.benchmarks == ("magnitude-after-training", *(f"lottery-rewinding:{step}" for step in e4.prune_at))
    dense = [job for job in plan(e4).jobs if job.kind == "dense"]
    assert sum(job.steps for job in dense) == e4.replicates * e4.total_steps
    assert (names(e5), e5.benchmarks, e5.ablations) == (FIVE, BENCHMARKS, ("shuffle",))
    rounds = {(m.name, m.entry_rounds) for m in e6.methods}
    assert {(name, n) for name in ("snip", "grasp", "synflow") for n in (1, 10, 100)} <= rounds
    assert {"grasp:reversed", "graspabs"} <= set(names(e6))
    per_class = {(m.name, m.options.get("examples_per_class", 10)) for m in e6.methods}
    assert {(name, n) for name in ("snip", "grasp") for n in (1, 10)} < per_class
    assert (names(init), init.network_options) == (FIVE, {"init": "normal-0.1"})
    assert (names(e7), e7.benchmarks) == (["random"], ("magnitude-after-training",))
    assert len(e7.sparsities) >= max(len(e1.sparsities), 10)


@pytest.mark.parametrize(("scale", "setting"), ALL)
def test_experiments_of_a_network_share_their_jobs(scale: str, setting: str) -> None:
    whole = {job.key for job in plan(Study.load(f"{scale}/{setting}")).jobs}
    for name in ("e2", "e3"):
        assert {job.key for job in plan(experiment(scale, name, setting)).jobs} <= whole
    trials = {(t.method, t.ablation, t.benchmark, t.sparsity) for t in plan(Study.load(f"{scale}/{setting}")).trials}
    parts = [t for name in ("e1", "e2", "e3") for t in plan(experiment(scale, name, setting)).trials]
    assert trials <= {(t.method, t.ablation, t.benchmark, t.sparsity) for t in parts}


def test_later_methods_are_put_through_the_same_battery() -> None:
    study = Study.load("laptop/later-digits")
    assert {"iter-snip", "force", "prospr", "phew", "ntk-sap"} <= set(names(study))
    assert {(m.name, m.quotas) for m in study.methods if m.quotas} == {("random", "erk"), ("random", "igq")}
    assert study.sparsities == Study.load("laptop/digits").sparsities

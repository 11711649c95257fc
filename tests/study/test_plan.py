from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemark.study.key import canonical, content_key
from prunemark.study.plan import Plan, plan
from prunemark.study.spec import Study
from prunemark.terms.ablations import chosen_ablations
from prunemark.terms.benchmarks import BENCHMARKS
from prunemark.terms.sparsity import rounds_to
from tests.study.conftest import TINY

Tiny = Callable[..., Study]


def subset(items: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(items), unique_by=str, max_size=len(items))


LABELLED = [{"name": "snip", "rounds": 3, "label": "snip-3"}, {"name": "random", "quotas": "erk", "label": "erk"}]
FIELDS = st.fixed_dictionaries(
    {
        "methods": subset(["random", "magnitude", "snip", "grasp", "synflow", *LABELLED]),
        "benchmarks": subset(list(BENCHMARKS)),
        "ablations": subset(list(chosen_ablations())),
        "sparsities": subset([0.0, 0.5, 0.9, 0.99]).filter(bool),
        "replicates": st.integers(1, 3),
        "prune_at": subset(["0ep", "3it", "0.5ep", "end"]).filter(bool),
        "rewind_to": st.sampled_from(["0it", "3it", "5it", "end"]),
    }
)


def keys(job_plan: Plan) -> set[str]:
    return {job.key for job in job_plan.jobs}


@given(FIELDS)
@settings(deadline=None, max_examples=30)
def test_every_plan_is_a_graph_of_jobs_that_are_done_once(fields: dict[str, Any]) -> None:
    job_plan = plan(Study(**(TINY | fields)))
    seen: set[str] = set()
    for job in job_plan.jobs:
        assert job.key not in seen
        assert set(job.inputs.values()) <= seen, "a job comes after those it needs"
        assert job.key == content_key(job.kind, job.spec)
        seen.add(job.key)
    assert {trial.job_key for trial in job_plan.trials} <= seen
    read = {key for job in job_plan.jobs for key in job.inputs.values()}
    assert read | {trial.job_key for trial in job_plan.trials} == seen, "no job is for nothing"
    trainings = {job.key: job.keeps_state for job in job_plan.jobs if job.kind == "train"}
    assert all(keeps == (key in read) for key, keeps in trainings.items()), "states that are read are kept, no others"
    cells = [(t.method, t.ablation, t.benchmark, t.prune_at, t.sparsity, t.replicate) for t in job_plan.trials]
    assert len(set(cells)) == len(cells)
    assert job_plan.steps == sum(job.steps for job in job_plan.jobs)


@given(FIELDS, FIELDS)
@settings(deadline=None, max_examples=30)
def test_extending_a_study_only_adds_jobs(fields: dict[str, Any], more: dict[str, Any]) -> None:
    def label(item: Any) -> str:
        return str(item)

    extended: dict[str, Any] = {"replicates": max(fields["replicates"], more["replicates"])}
    for name in ("methods", "benchmarks", "ablations", "sparsities", "prune_at"):
        extended[name] = list({label(item): item for item in fields[name] + more[name]}.values())
    before = plan(Study(**(TINY | fields)))
    after = plan(Study(**(TINY | fields | extended)))
    assert keys(before) <= keys(after)
    rows = {t: t.job_key for t in after.trials}
    assert all(rows[trial] == trial.job_key for trial in before.trials)


def test_what_trials_share_is_one_job(tiny: Tiny) -> None:
    study = tiny(
        methods=["magnitude", "snip"],
        benchmarks=["magnitude-after-training", "lottery-rewinding"],
        ablations=list(chosen_ablations()),
        sparsities=[0.5, 0.9],
        replicates=2,
    )
    counts = plan(study).counts()
    # A replicate: the initial state, the rewinding point, the end.
    assert counts["dense"] == 2 * 3
    # Magnitude and SNIP at initialisation, magnitude at the end for both benchmarks.
    assert counts["score"] == 2 * 3
    # Unmodified, shuffled and reinitialised runs share one mask; the inverted one is another.
    assert counts["mask"] == 2 * 3 * 2 * 2
    # Two methods and two benchmarks, seven runs each, but reinitialised the benchmarks are the same network.
    assert counts["train"] == 2 * 2 * (4 * 7 - 2)


def test_the_trials_of_a_study(tiny: Tiny) -> None:
    job_plan = plan(tiny(sparsities=[0.5, 0.9], prune_at=["0ep", "5it"]))
    rows = Counter((t.method, t.ablation, t.benchmark, t.prune_at) for t in job_plan.trials)
    assert rows == {
        ("dense", "unmodified", "", ""): 1,
        **{("random", "unmodified", "", at): 2 for at in ("0ep", "5it")},
        **{
            (method, ablation, "", at): 2
            for method in ("snip", "synflow")
            for ablation in ("unmodified", "shuffle", "invert")
            for at in ("0ep", "5it")
        },
        **{("magnitude", ablation, "lottery-rewinding", "end"): 2 for ablation in ("unmodified", "shuffle", "invert")},
    }
    assert any("random gets no ablations" in note for note in job_plan.notes)
    assert any("no verdicts" in note for note in job_plan.notes)


def test_sparsity_zero_is_the_dense_network(tiny: Tiny) -> None:
    job_plan = plan(tiny(sparsities=[0], benchmarks=list(BENCHMARKS), ablations=list(chosen_ablations())))
    by_row = {(t.method, t.ablation, t.benchmark): t.job_key for t in job_plan.trials}
    dense = by_row["dense", "unmodified", ""]
    assert by_row["snip", "unmodified", ""] == by_row["random", "unmodified", ""] == dense
    assert not job_plan.counts().keys() & {"score", "mask"}
    # Training once more from the end, and the whole schedule from step 3, are runs of their own.
    assert job_plan.counts()["train"] == 2
    assert {ablation for _, ablation, _ in by_row} == {"unmodified"}


def test_a_score_run_in_rounds_belongs_to_its_mask(tiny: Tiny) -> None:
    job_plan = plan(tiny(methods=["synflow"], benchmarks=[], ablations=[]))
    (mask,) = (job for job in job_plan.jobs if job.kind == "mask")
    assert mask.spec["rounds"] == 100
    assert mask.inputs.keys() == {"state"}
    assert "score" not in job_plan.counts()


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [
        (0, [0]),
        (0.1, [0.1]),
        (0.2, [0.2]),
        (0.36, [0.2, 0.36]),
        (0.488, [0.2, 0.36, 0.488]),
        (0.4881, [0.2, 0.36, 0.488, 0.4881]),
        (1 - 0.8**4, [0.2, 0.36, 0.488, 1 - 0.8**4]),
    ],
)
def test_rounds_of_twenty_per_cent_end_at_the_sparsity(sparsity: float, expected: list[float]) -> None:
    assert rounds_to(sparsity) == expected


@pytest.mark.parametrize("rewinds", [False, True])
def test_iterative_pruning_goes_on_from_what_the_round_before_trained(tiny: Tiny, rewinds: bool) -> None:
    name = "imp-rewinding" if rewinds else "imp"
    study = tiny(methods=[], benchmarks=[name], ablations=["shuffle", "reinit", "invert"], sparsities=[0.36, 0.5])
    job_plan = plan(study)
    jobs = {job.key: job for job in job_plan.jobs}
    trials = {(trial.ablation, trial.sparsity): jobs[trial.job_key] for trial in job_plan.trials if trial.benchmark}
    assert {ablation for ablation, _ in trials} == {"unmodified", "shuffle", "reinit"}
    assert any("not inverted" in note for note in job_plan.notes)
    final = trials["unmodified", 0.5]
    reached: list[float] = []
    training = final
    while training.kind == "train":
        mask = jobs[training.inputs["mask"]]
        reached.append(mask.spec["sparsity"])
        before = (
            jobs[mask.inputs["state"]] if "state" in mask.inputs else jobs[jobs[mask.inputs["scores"]].inputs["state"]]
        )
        weights = jobs[training.inputs["weights"]]
        if rewinds:
            assert (weights.kind, weights.spec["step"]) == ("dense", 3)
        else:
            assert weights == before
        if "within" in mask.inputs:
            assert mask.inputs["within"] == before.inputs["mask"]
        training = before
    assert reached == [0.5, 0.488, 0.36, 0.2]
    assert training.spec["step"] == study.total_steps
    assert trials["unmodified", 0.36].keeps_state, "the trial at 36 % is the second round of the one at 50 %"
    assert not final.keeps_state
    # Three rounds and the last one, and two ablations at each of the two sparsities; fresh weights are fresh weights.
    assert job_plan.counts()["train"] == 4 + 2 * 2


def test_one_round_is_the_benchmark_that_prunes_once(tiny: Tiny) -> None:
    study = tiny(methods=[], benchmarks=list(BENCHMARKS), ablations=["shuffle"], sparsities=[0.2])
    keys = {(trial.benchmark, trial.ablation): trial.job_key for trial in plan(study).trials}
    for once, iterative in (("magnitude-after-training", "imp"), ("lottery-rewinding", "imp-rewinding")):
        for ablation in ("unmodified", "shuffle"):
            assert keys[once, ablation] == keys[iterative, ablation]


def test_a_benchmark_rewinds_to_the_step_that_it_names(tiny: Tiny) -> None:
    named = ["lottery-rewinding", "lottery-rewinding:3it", "lottery-rewinding:0ep", "imp-rewinding:5it"]
    job_plan = plan(tiny(methods=[], benchmarks=named, ablations=[]))
    jobs = {job.key: job for job in job_plan.jobs}
    steps = {t.benchmark: jobs[jobs[t.job_key].inputs["weights"]].spec["step"] for t in job_plan.trials if t.benchmark}
    assert steps == dict(zip(named, (3, 3, 0, 5), strict=True))


def test_pruning_at_the_end_by_magnitude_is_the_benchmark(tiny: Tiny) -> None:
    study = tiny(methods=["magnitude"], benchmarks=["magnitude-after-training"], prune_at=["end"], ablations=[])
    method, benchmark = (trial.job_key for trial in plan(study).trials if trial.method == "magnitude")
    assert method == benchmark


def test_keys_change_with_what_changes_results_and_nothing_else(tiny: Tiny) -> None:
    before = plan(tiny())
    same: list[dict[str, Any]] = [
        {"name": "other"},
        {"description": "words"},
        {"margin": 2.0},
        {"rewind_to": "3it"},
        {"methods": [{"name": "random"}, {"name": "snip", "label": "mine"}, {"name": "synflow", "rounds": 2}]},
        {"methods": ["random", {"name": "snip", "options": {"examples_per_class": 10}}, TINY["methods"][2]]},
    ]
    for changes in same:
        assert keys(plan(tiny(**changes))) == keys(before), changes
    lr = plan(tiny(recipe=TINY["recipe"] | {"lr": 0.2}))
    shared = {job.key: job.kind for job in lr.jobs if job.key in keys(before)}
    assert Counter(shared.values()) == {"dense": 1, "score": 2, "mask": 5}, "what happens before any training"
    assert not keys(plan(tiny(seed=1))) & keys(before)
    fewer = plan(tiny(examples_per_class=9))
    assert Counter(job.kind for job in fewer.jobs if job.key not in keys(before)) == {"score": 1, "mask": 2, "train": 3}


def test_keys_do_not_depend_on_the_path_to_a_checkpoint(tiny: Tiny) -> None:
    direct, by_stops = plan(tiny(benchmarks=[])), plan(tiny(prune_at=["0ep", "3it", "7it"]))
    assert keys(direct) <= keys(by_stops)
    end = direct.trials[0].job_key
    starts = [next(job for job in p.jobs if job.key == end).inputs["start"] for p in (direct, by_stops)]
    assert starts[0] != starts[1]


def test_a_users_file_counts_by_its_content(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def score(problem): ...\n")
    (tmp_path / "b.py").write_text("def score(problem): ...\n")
    a, b = (plan(tiny(methods=[f"{tmp_path}/{name}.py:score"])) for name in "ab")
    assert keys(a) == keys(b)
    assert str(tmp_path) not in canonical([job.spec for job in a.jobs])
    assert [job.kind for job in a.jobs if job.files] == ["score", "mask", "mask"]
    (tmp_path / "a.py").write_text("def score(problem): return 1\n")
    assert keys(plan(tiny(methods=[f"{tmp_path}/a.py:score"]))) != keys(a)


def test_a_file_of_a_network_is_named_without_its_folder(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build(input_shape, classes): ...\n")
    job_plan = plan(tiny(network=f"{tmp_path}/net.py:build", recipe={"epochs": 2, "rewind_to": "1it"}))
    assert {trial.network for trial in job_plan.trials} == {"net.py:build"}
    assert all(job.files for job in job_plan.jobs)


def test_the_key_of_a_job_is_what_it_always_was(tiny: Tiny) -> None:
    # If this fails, every store in the world is run afresh: change SCHEMA if that is right, else undo the change.
    initial = plan(tiny()).jobs[0]
    assert canonical(initial.spec) == (
        '{"dataset":"digits","network":{"name":"lenet-300-100","options":{}},"recipe":null,'
        f'"seed":{initial.spec["seed"]},"step":0}}'
    )
    assert initial.key == "f61421e90f20dd4c75332a826d06c115b799567aca894771f065db7167fa4021"


def test_the_plan_says_how_big_it_is(tiny: Tiny) -> None:
    text = plan(tiny()).describe()
    assert "study tiny: lenet-300-100 on digits, 1 replicate\n" in text
    assert "11 trials from 23 jobs: 10 trainings of subnetworks, 3 stretches of dense training" in text
    assert "121 training steps" in text


def test_canonical_json_tells_no_number_from_its_equal() -> None:
    assert canonical({"b": [1.0, (2,)], "a": True}) == '{"a":true,"b":[1,[2]]}'
    assert content_key("dense", {"x": 1}) == content_key("dense", {"x": 1.0})
    assert content_key("dense", {"x": 1}) != content_key("train", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("inf"))
    with pytest.raises(ValueError, match="not JSON"):
        canonical({"x": Path()})


def test_mask_of_one_step_and_weights_of_another(tiny: Tiny) -> None:
    study = tiny(methods=["snip"], benchmarks=[], ablations=["shuffle", "reinit"], score_at="end", weights_at="3it")
    made = plan(study)
    jobs = {job.key: job for job in made.jobs}
    dense = {job.spec["step"]: job.key for job in made.jobs if job.kind == "dense"}
    (trial,) = (t for t in made.trials if (t.method, t.ablation) == ("snip", "unmodified"))
    training = jobs[trial.job_key]
    assert training.spec["weights"] == dense[3]
    assert jobs[training.spec["mask"]].spec["state"] == dense[study.total_steps]
    assert trial.prune_at == "end", "by then all is known that the subnetwork was given"
    swept = plan(tiny(methods=["snip"], benchmarks=[], ablations=[], prune_at=["0ep", "3it"], score_at="0ep"))
    assert [t.prune_at for t in swept.trials if t.method == "snip"] == ["0ep", "3it"]


def test_subnetworks_train_what_is_left_of_the_schedule(tiny: Tiny) -> None:
    fields = {"methods": ["snip"], "benchmarks": ["magnitude-after-training", "lottery-rewinding"], "ablations": []}
    rest = plan(tiny(**fields, prune_at=["3it"], retrain="rest"))
    total = rest.study.total_steps
    trials = {t.benchmark or t.method: t for t in rest.trials}
    jobs = {job.key: job for job in rest.jobs}
    begins = {name: jobs[t.job_key].spec.get("begins", 0) for name, t in trials.items()}
    assert begins == {"dense": 0, "snip": 3, "magnitude-after-training": 0, "lottery-rewinding": 3}
    assert {name: jobs[t.job_key].steps for name, t in trials.items() if name != "dense"} == {
        "snip": total - 3, "magnitude-after-training": total, "lottery-rewinding": total - 3
    }  # fmt: skip
    whole = plan(tiny(**fields, prune_at=["3it"]))
    assert {t.job_key for t in whole.trials} & {t.job_key for t in rest.trials} == {
        t.job_key for t in rest.trials if t.method == "dense" or t.benchmark == "magnitude-after-training"
    }


def test_looks_are_planned_one_after_the_other_and_move_no_key(tiny: Tiny) -> None:
    growing, fixed = tiny(replicates={"min": 3, "max": 8}), tiny(replicates=8)
    assert plan(growing).jobs == plan(fixed).jobs
    first, second = plan(growing, 3), plan(growing, 5)
    assert [one.replicates for one in (first, second, plan(growing))] == [3, 5, 8]
    assert second.jobs[: len(first.jobs)] == first.jobs == plan(tiny(replicates=3)).jobs
    assert second.trials[: len(first.trials)] == first.trials
    text = first.describe()
    assert "on digits, 3 to 8 replicates, looks at 3, 5, 8\n" in text
    assert f"up to the look at 3 replicates: {len(first.trials)} trials from {len(first.jobs)} jobs" in text
    assert "it ends at the first look at which every question about a claim is settled" in text
    assert not any("no verdicts" in note for note in first.notes)

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prunemark.artifacts import digest_of
from prunemark.datasets import DATASETS, Dataset, Normalisation, dataset
from prunemark.masks import Masks
from prunemark.methods import METHODS
from prunemark.networks import network
from prunemark.parts import Keeper, part_place
from prunemark.pruning import prune
from prunemark.study import jobs, materials, preflight
from prunemark.study.job import Context, Job, Outcome
from prunemark.study.plan import plan
from prunemark.study.preflight import check, stand_in, time_step
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from prunemark.training import Checkpoint, Trained, train

Tiny = Callable[..., Study]
NARROW: dict[str, Any] = {"network": "resnet-8", "network_options": {"width": 0.5}}


def run_all(
    study: Study, folder: Path, wanted: Callable[[Job], bool] = lambda _: True
) -> Iterator[tuple[Job, Outcome]]:
    context = Context(artifacts=str(folder))
    for job in plan(study).jobs:
        if wanted(job):
            yield job, jobs.execute(job, context)


def artifact(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def test_every_job_leaves_what_others_need(tiny: Tiny, tmp_path: Path) -> None:
    for job, outcome in run_all(tiny(ablations=["shuffle", "reinit", "invert"]), tmp_path):
        assert outcome.status == "done", outcome.error
        result = outcome.result
        match job.kind:
            case "dense":
                checkpoint = Checkpoint.load(artifact(tmp_path, job.key))
                assert checkpoint.step == result["step"] == job.spec["step"]
            case "mask":
                masks = Masks.load(artifact(tmp_path, job.key))
                assert masks.kept == result["kept"] == round(0.1 * result["total"])
                assert result["unscored"] == masks.unscored == sum(masks.provenance["unscored"].values())
                assert [layer["kept"] for layer in result["layers"]] == [layer.kept for layer in masks.layers()]
                assert set(result["certificates"]) == ({"invert"} if job.spec["invert"] else set())
            case "train":
                assert 0 <= result["test_accuracy"] <= 1
                assert result["density"] == result["kept"] / result["total"]
                shuffled, fresh = job.spec["shuffle"], job.spec["weights"] == "reinit"
                expected = {"masks held"} | ({"shuffle"} if shuffled else set()) | ({"reinit"} if fresh else set())
                assert set(result["certificates"]) == expected
                if shuffled:
                    assert result["certificates"]["shuffle"]["changed"] > 0
            case _:
                assert artifact(tmp_path, job.key).is_file()
    assert not list(tmp_path.glob(".*")), "nothing unfinished is left"


def test_iterative_pruning_prunes_what_the_round_before_trained(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(methods=[], benchmarks=["imp", "imp-rewinding"], ablations=["shuffle"], sparsities=[0.4])
    all_jobs = {job.key: job for job in plan(study).jobs}
    rounds: dict[str, list[int]] = {}
    for job, outcome in run_all(study, tmp_path):
        assert outcome.status == "done", outcome.error
        if "within" in job.inputs:
            masks = Masks.load(artifact(tmp_path, job.key))
            survivors = Masks.load(artifact(tmp_path, job.inputs["within"]))
            state = Checkpoint.load(artifact(tmp_path, job.inputs["state"])).model
            assert masks.kept == round((1 - job.spec["sparsity"]) * masks.total)
            kept = torch.cat([state[name][masks[name]].abs() for name in masks])
            gone = torch.cat([state[name][survivors[name] & ~masks[name]].abs() for name in masks])
            assert all((masks[name] <= survivors[name]).all() for name in masks), "no weight comes back"
            assert all((state[name][~survivors[name]] == 0).all() for name in masks), "it was trained within its mask"
            assert kept.min() >= gone.max()
            trained_from = all_jobs[job.inputs["state"]].inputs["weights"]
            kind = "rewound" if all_jobs[trained_from].spec.get("step") == 3 else "kept"
            rounds.setdefault(kind, []).append(masks.kept)
    assert rounds["rewound"] == rounds["kept"]
    assert len(rounds["kept"]) == 2


def test_jobs_are_functions_of_their_specs(tiny: Tiny, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    once.mkdir()
    twice.mkdir()
    # The dense network of the second is trained in more stretches.
    wanted = {job.key for job in plan(tiny()).jobs}
    first = {job.key: outcome.result for job, outcome in run_all(tiny(), once)}
    torch.rand(1)
    with_stop = tiny(prune_at=["0ep", "7it"])
    second = {
        job.key: outcome.result
        for job, outcome in run_all(with_stop, twice, lambda j: j.kind == "dense" or j.key in wanted)
    }
    for key, result in first.items():
        # The curve of dense training lies with its stretches.
        apart = {"train_seconds": 0} | ({"curve": 0} if "kept" not in result else {})
        assert result | apart == second[key] | apart
        if artifact(once, key).exists():
            one, two = load_file(artifact(once, key)), load_file(artifact(twice, key))
            assert one.keys() == two.keys()
            assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_seed_of_a_replicate_is_all_that_its_jobs_share(tiny: Tiny, tmp_path: Path) -> None:
    dense = [job for job in plan(tiny(replicates=2)).jobs if job.kind == "dense" and job.spec["step"] == 0]
    context = Context(artifacts=str(tmp_path))
    states = [(jobs.execute(job, context), Checkpoint.load(artifact(tmp_path, job.key)).model)[1] for job in dense]
    assert not any(torch.equal(states[0][name], states[1][name]) for name in states[0] if "weight" in name)


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")
@pytest.mark.parametrize("quotas", [None, "erk"])
def test_scores_then_masks_are_what_prune_gives(tmp_path: Path, quotas: str | None) -> None:
    names = [name for name in METHODS if METHODS[name].rounds == 1]
    methods = [{"name": name, "quotas": quotas} for name in names]
    study = Study(
        **NARROW, name="s", dataset="digits", methods=methods, sparsities=[0.7], ablations=["invert"],
        replicates=1, recipe={"epochs": 1}, examples_per_class=3,
    )  # fmt: skip
    data = dataset("digits")
    done = 0
    for job, outcome in run_all(study, tmp_path, lambda job: job.kind != "train" and job.spec.get("step", 0) == 0):
        assert outcome.status == "done", outcome.error
        if job.kind == "mask":
            seed, name = job.spec["seed"], job.spec["method"]["name"]
            model = network("resnet-8", input_shape=(1, 8, 8), classes=10, seed=seed, width=0.5)
            expected = prune(
                model, name, sparsity=0.7, data=data, seed=seed, invert=job.spec["invert"], quotas=quotas,
                **job.spec["options"] if name not in ("snip:official",) else {},
            )  # fmt: skip
            masks = Masks.load(artifact(tmp_path, job.key))
            assert list(masks) == list(expected), "the order of the layers breaks ties"
            assert masks == expected
            assert masks.provenance["unscored"] == expected.provenance["unscored"]
            assert outcome.result["certificates"].get("invert") == expected.provenance.get("certificate")
            done += 1
    assert done == 2 * len(names) - 1


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")
def test_a_study_scores_in_batches_of_the_size_that_it_names(tmp_path: Path) -> None:
    methods = ["snip", {"name": "snip", "rounds": 2, "label": "twice"}]
    study = Study(
        **NARROW, name="s", dataset="digits", methods=methods, sparsities=[0.7], replicates=1, scoring_batch=30
    )
    found: list[Masks] = []
    for job, outcome in run_all(study, tmp_path, lambda job: job.kind != "train" and job.spec.get("step", 0) == 0):
        assert outcome.status == "done", outcome.error
        if job.kind == "mask":
            seed, rounds = job.spec["seed"], job.spec["rounds"]
            model = network("resnet-8", input_shape=(1, 8, 8), classes=10, seed=seed, width=0.5)
            arguments: dict[str, Any] = {"sparsity": 0.7, "data": dataset("digits"), "seed": seed, "rounds": rounds}
            found.append(Masks.load(artifact(tmp_path, job.key)))
            assert found[-1] == prune(model, "snip", **arguments, scoring_batch=30)
            assert found[-1] != prune(model, "snip", **arguments)
    assert len(found) == 2


def test_a_study_trains_on_data_that_are_normalised_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = Normalisation(mean=(0.25,), std=(0.5,))
    monkeypatch.setitem(DATASETS, "digits", dataclasses.replace(DATASETS["digits"], paper_normalisation=constants))
    asked: list[Any] = []

    def load(name: str, data_dir: str | None, normalise: str) -> Dataset:
        asked.append((name, normalise))
        return dataset(name)

    monkeypatch.setattr(materials, "make_data", load)
    study = Study(**NARROW, name="s", dataset="digits", methods=["random"], sparsities=[0.7], normalise="paper")
    job = plan(study).jobs[0]
    assert jobs.execute(job, Context(artifacts=str(tmp_path))).status == "done"
    assert set(asked) == {("digits", "paper")}


def test_rewinding_restores_the_whole_state_batchnorm_included(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(
        **NARROW, methods=[], ablations=["reinit"], benchmarks=["lottery-rewinding", "magnitude-after-training"]
    )
    started: dict[str, dict[str, torch.Tensor]] = {}
    original = jobs.train

    def watched(model: torch.nn.Module, *args: Any, **named: Any) -> Any:
        started["now"] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return original(model, *args, **named)

    monkeypatch.setattr(jobs, "train", watched)
    dense: dict[int, str] = {}
    checked: list[int] = []
    for job, outcome in run_all(study, tmp_path):
        assert outcome.status == "done", outcome.error
        if job.kind == "dense":
            dense[job.spec["step"]] = job.key
        if job.kind == "train":
            steps = {key: step for step, key in dense.items()}
            step = 0 if job.spec["weights"] == "reinit" else steps[job.spec["weights"]]
            state = Checkpoint.load(artifact(tmp_path, dense[step])).model
            same = all(torch.equal(started["now"][name], tensor) for name, tensor in state.items())
            assert same == (job.spec["weights"] != "reinit")
            counters = [int(t) for name, t in started["now"].items() if name.endswith("num_batches_tracked")]
            assert counters
            assert set(counters) == {step}
            checked.append(step)
    assert sorted(checked) == [0, 3, 21]


def test_a_job_that_goes_wrong_says_why(tiny: Tiny, tmp_path: Path) -> None:
    score = next(job for job in plan(tiny()).jobs if job.kind == "score")
    outcome = jobs.execute(score, Context(artifacts=str(tmp_path)))
    (state,) = score.inputs.values()
    assert outcome.status == "failed"
    assert outcome.error.startswith("there is no checkpoint file")
    assert outcome.unusable == {state: outcome.error}
    assert outcome.result == {}
    dense = next(job for job in plan(tiny()).jobs if job.kind == "dense")
    outcome = jobs.execute(dense, Context(artifacts=str(tmp_path / "nowhere")))
    assert outcome.status == "failed"
    assert "Traceback" in outcome.error
    assert outcome.unusable == {}


def test_training_that_diverges_is_an_outcome(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(methods=[], benchmarks=[], recipe={"epochs": 1, "lr": 1e30})
    outcomes = [outcome for _, outcome in run_all(study, tmp_path)]
    assert [outcome.status for outcome in outcomes] == ["done", "diverged"]


def test_a_users_method_and_network(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "def build(input_shape, classes, hidden=8):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))\n"
        "def score(problem, power=1):\n"
        "    assert sum(map(problem.size, problem.batches)) == 70\n"
        "    return {name: weight.abs() ** power for name, weight in problem.weights.items()}\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Sized:\n"
        "    rounds: int = 1\n"
        "    examples_per_class: int = 10\n"
        "    def __call__(self, problem):\n"
        "        assert self.examples_per_class == 7\n"
        "        return score(problem)\n"
        "ready = Sized(examples_per_class=7)\n"
    )
    study = tiny(
        network=f"{tmp_path}/mine.py:build",
        network_options={"hidden": 12},
        methods=[
            {"name": f"{tmp_path}/mine.py:score", "options": {"power": 2}},
            f"{tmp_path}/mine.py:Sized",
            f"{tmp_path}/mine.py:ready",
        ],
        benchmarks=[],
        ablations=["reinit"],
        examples_per_class=7,
        recipe={"epochs": 1},
    )
    check(study, dataset("digits"))
    states: dict[str, Masks] = {}
    for job, outcome in run_all(study, tmp_path):
        assert outcome.status == "done", outcome.error
        if job.kind == "mask":
            assert outcome.result["total"] == 64 * 12 + 12 * 10
            states[job.spec["method"]["attribute"]] = Masks.load(artifact(tmp_path, job.key))
    assert states["score"] == states["Sized"] == states["ready"]


def test_a_users_file_that_changes_under_a_study_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(problem): return dict(problem.weights)\n")
    job_plan = plan(tiny(methods=[f"{file}:score"], benchmarks=[]))
    file.write_text("def score(problem): return {}\n")
    context = Context(artifacts=str(tmp_path))
    outcomes = [jobs.execute(job, context) for job in job_plan.jobs if job.kind in ("dense", "score")]
    assert [outcome.status for outcome in outcomes] == ["done", "done", "failed"]
    assert "mine.py has changed since the study began" in outcomes[-1].error


def test_check_finds_what_only_code_can_tell(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def build(input_shape, classes): return 3\n"
        "def fails(input_shape, classes): raise RuntimeError('no network today')\n"
        "class Score:\n    def __init__(self): raise ValueError('not like this')\n"
    )
    methods = [{"name": "snip", "options": {"bnn": "eval"}}, f"{tmp_path}/mine.py:Score", "magnitude"]
    with pytest.raises(StudyError) as caught:
        check(tiny(network=f"{tmp_path}/mine.py:build", methods=methods), dataset("digits"))
    network_problem, option, own = caught.value.problems
    assert network_problem == "tiny: network: mine.py:build must return a torch.nn.Module, not int"
    assert option.startswith('tiny: methods[0]: snip: unknown option "bnn"')
    mine = f"{tmp_path}/mine.py"
    assert own == f"tiny: methods[1]: {mine}:Score failed in line 4: ValueError: not like this"
    with pytest.raises(StudyError, match=r"network: .*:fails failed in line 2: RuntimeError: no network today"):
        check(tiny(network=f"{tmp_path}/mine.py:fails"), dataset("digits"))


def test_check_scores_once_with_methods_of_the_users(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def fails(problem): raise RuntimeError('no score today')\n"
        "def nothing(problem): return {}\n"
        "def fine(problem): return {name: weight.abs() for name, weight in problem.weights.items()}\n"
        "def infinite(problem): return {name: weight / 0 for name, weight in problem.weights.items()}\n"
    )
    methods = [f"{tmp_path}/mine.py:{name}" for name in ("fails", "nothing", "fine", "infinite")]
    with pytest.raises(StudyError) as caught:
        check(tiny(methods=methods), dataset("digits"))
    fails, nothing, infinite = caught.value.problems
    assert fails == f"tiny: methods[0]: {tmp_path}/mine.py:fails failed in line 1: RuntimeError: no score today"
    assert nothing.startswith("tiny: methods[1]: scores must name each prunable weight: missing")
    assert infinite.startswith("tiny: methods[3]: scores of fc1.weight are not finite")


def test_check_finds_too_few_examples_of_a_class(tiny: Tiny) -> None:
    with pytest.raises(StudyError, match=r"methods\[1\]: class 0 .* has 128 training examples; 129 per class"):
        check(tiny(examples_per_class=129), dataset("digits"))


def test_check_finds_quotas_that_no_layers_can_meet(tiny: Tiny) -> None:
    methods = [{"name": "snip", "quotas": "uniform-plus"}, {"name": "snip", "quotas": "erk", "label": "erk"}]
    study = tiny(methods=methods, network="resnet-8", sparsities=[0.5, 0.9999])
    with pytest.raises(StudyError) as caught:
        check(study, dataset("digits"))
    (problem,) = caught.value.problems
    assert problem.startswith("tiny: methods[0]: quotas: at sparsity 0.9999: uniform-plus keeps the first convolution")
    assert "but only 8 are to be kept" in problem


def test_check_finds_all_that_is_wrong_with_patterns(tiny: Tiny) -> None:
    patterns = [{"fc9.*": 0.5, "conv*": 0.5}, {"fc1.*": 0.5, "fc*": 0.5}, {"fc1.*": 0.1}, {"fc1.*": 0.5}]
    methods = [{"name": "random", "label": f"r{i}", "quotas": table} for i, table in enumerate(patterns)]
    with pytest.raises(StudyError) as caught:
        check(tiny(methods=methods, sparsities=[0, 0.3, 0.9]), dataset("digits"))
    layers = "matches no layer; layers: fc1.weight, fc2.weight, fc3.weight"
    much = "at least, but 5,020 weights are to be kept"
    # LeNet-300-100 has 19,200, 30,000 and 1,000 weights here.
    assert caught.value.problems == (
        f'tiny: methods[0]: quotas: the pattern "fc9.*" {layers}',
        f'tiny: methods[0]: quotas: the pattern "conv*" {layers}',
        'tiny: methods[1]: quotas: fc1.weight is matched by "fc1.*" and "fc*": one pattern per layer',
        f"tiny: methods[2]: quotas: at sparsity 0.9: the patterns keep 17,280 {much}",
        f"tiny: methods[3]: quotas: at sparsity 0.9: the patterns keep 9,600 {much}",
    )


def test_masks_of_a_study_have_the_sparsities_of_its_patterns(tiny: Tiny, tmp_path: Path) -> None:
    table = {"fc1.*": 0.95, "fc3.weight": 0.5}
    methods = [{"name": "random", "quotas": table, "label": "once"}]
    methods.append({"name": "random", "quotas": table, "rounds": 3, "label": "thrice"})
    counts = list[dict[str, int]]()
    study = tiny(methods=methods, benchmarks=[], ablations=[])
    for job, outcome in run_all(study, tmp_path, lambda job: job.kind != "train" and job.spec.get("step", 0) == 0):
        assert outcome.status == "done", outcome.error
        if job.kind == "mask":
            counts.append({count.name: count.kept for count in Masks.load(artifact(tmp_path, job.key)).layers()})
    # 5,020 of 50,200 are kept: 960 of 19,200, 500 of 1,000, and the other 3,560 in fc2.
    assert counts == 2 * [{"fc1.weight": 960, "fc2.weight": 3560, "fc3.weight": 500}]


def test_a_stand_in_is_one_batch_of_the_data_sets_shape(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stand_in(tiny(dataset="cifar-100", recipe={"batch_size": 6}))
    assert (data.input_shape, data.classes, len(data.train)) == ((3, 32, 32), 100, 6)
    large = Study(name="s", network="resnet-50", dataset="imagenet", methods=["random"], sparsities=[0.5])
    assert stand_in(large).train.inputs.shape == (13, 3, 224, 224), "a batch of 1,024 would not fit"
    # The time of 13 examples stands for that of 1,024.
    numbers = {"test_accuracy": 0, "test_loss": 0, "train_seconds": 13.0}
    trained = Trained(checkpoint=None, diverged=False, engine="dense", **numbers)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(preflight, "make_network", lambda *_: None)
    monkeypatch.setattr(preflight, "train", lambda *_, **__: trained)
    assert time_step(large, stand_in(large)) == pytest.approx(1024 / 2)


def test_a_network_of_ones_own_that_does_not_take_the_data_is_said(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))\n"
    )
    study = tiny(network=f"{tmp_path}/mine.py:build")
    with pytest.raises(
        StudyError, match=r"tiny: network: cannot be trained on digits: .*mine\.py:build failed: Runtime"
    ):
        time_step(study, dataset("digits"))


def test_the_time_of_a_step_is_measured_without_trace(tiny: Tiny) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = torch.random.get_rng_state()
    assert 0 < time_step(tiny(), dataset("digits"), enough_s=0.01) < 10
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.set_num_threads(threads)


def test_the_rest_of_the_schedule_is_trained_from_the_weights_of_its_step(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(methods=["magnitude"], benchmarks=[], ablations=["redraw-signs"], prune_at=["3it"], retrain="rest")
    made = {job.key: (job, outcome) for job, outcome in run_all(study, tmp_path)}
    (state,) = (job.key for job, _ in made.values() if job.kind == "dense" and job.spec["step"] == 3)
    trained = [(job, outcome) for job, outcome in made.values() if job.kind == "train"]
    assert len(trained) == 2
    data, start = dataset("digits"), Checkpoint.load(artifact(tmp_path, state))
    for job, outcome in trained:
        assert outcome.status == "done", outcome.error
        assert outcome.result["step"] == study.total_steps
        if job.spec["weights"] != state:
            continue
        model = network("lenet-300-100", input_shape=data.input_shape, classes=10, seed=0)
        model.load_state_dict(start.model)
        still = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        expected = train(
            model,
            data.train,
            study.full_recipe,
            seed=job.spec["seed"],
            masks=Masks.load(artifact(tmp_path, job.inputs["mask"])),
            test=data.test,
            start=Checkpoint.capture(model, step=3, momentum=still),
        )
        assert outcome.result["test_accuracy"] == expected.test_accuracy
        assert outcome.result["test_loss"] == pytest.approx(expected.test_loss, rel=1e-6)


def test_how_far_a_job_was_on_a_gpu_is_of_use_on_gpus_of_that_model_alone(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"cuda:0": "H100", "cuda:1": "H100"}
    monkeypatch.setattr(torch.cuda, "get_device_name", models.__getitem__)
    job = plan(tiny()).jobs[0]

    def keeper(device: str) -> Keeper:
        return jobs._keeper(job, Context(artifacts=str(tmp_path), device=device), lambda _: None)  # pyright: ignore[reportPrivateUsage]

    keeper("cuda:0").keep(3, {"weight": torch.ones(2)}, {})
    assert keeper("cuda:1").kept() is not None
    models["cuda:0"] = "T4"
    assert keeper("cuda:0").kept() is None


@pytest.mark.parametrize("change", ["curves on", "curves off", "start", "input made again"])
def test_how_far_a_job_was_is_of_use_for_what_it_is_to_record_alone(tiny: Tiny, tmp_path: Path, change: str) -> None:
    study = tiny(methods=["snip"], ablations=[], recipe={"epochs": 2, "rewind_to": "3it"})
    made = [job for job in plan(study).jobs if job.kind == "dense"]
    before = Context(artifacts=str(tmp_path), checkpoint_s=0)
    for job in made[:-1]:
        assert jobs.execute(job, before).status == "done"
    job = dataclasses.replace(made[-1], curves=change != "curves off")
    assert job.inputs["start"] == made[1].key
    earlier = {
        "curves on": dataclasses.replace(job, curves=False),
        "curves off": dataclasses.replace(job, curves=True),
        "start": dataclasses.replace(job, inputs={"start": made[0].key}),
        "input made again": job,
    }[change]
    # A job that was killed at its last step leaves what one that is done leaves here.
    jobs.execute(earlier, before)
    said: list[dict[str, Any]] = []
    if change == "input made again":
        job = dataclasses.replace(job, digests={made[1].key: digest_of(artifact(tmp_path, made[1].key))})
    resumed = jobs.execute(job, before, said.append)
    part_place(tmp_path, job.key).unlink()
    undisturbed = jobs.execute(job, before)
    assert resumed.result["curve"] == undisturbed.result["curve"]
    assert bool(resumed.result["curve"]) == (change != "curves off")
    assert {"note": "another version, setting, input, engine or device kept how far it was"} in said

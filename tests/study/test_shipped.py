"""The shipped studies: how experiments and settings combine, and what each experiment asks (spec.md, section 6)."""

import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from prunemark.cli.names import list_names
from prunemark.recipes import REPLICATES
from prunemark.study import shipped
from prunemark.study.plan import plan
from prunemark.study.problems import StudyError
from prunemark.study.shipped import experiments, settings, single_studies, studies, study_name
from prunemark.study.spec import Study
from tests.study.conftest import FILE

PAPER = ("e1", "e2", "e3", "e4", "e5", "e6", "e6-init", "e7")
FIVE = ["random", "magnitude", "snip", "grasp", "synflow"]
BENCHMARKS = ("magnitude-after-training", "lottery-rewinding")
ABLATIONS = ("shuffle", "reinit", "invert")

AddFile = Callable[[str, str], None]


@pytest.fixture
def add_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddFile:
    """add_file(path, text): put a file beside those that ship."""
    shutil.copytree(str(resources.files("prunemark") / "studies"), tmp_path / "studies")
    monkeypatch.setattr(shipped.resources, "files", lambda _package: tmp_path)  # pyright: ignore[reportUnknownLambdaType]

    def add(path: str, text: str) -> None:
        file = tmp_path / "studies" / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    return add


def experiment(name: str, setting: str) -> Study:
    return Study.load(study_name(name, setting))


def names(study: Study) -> list[str]:
    return [method.name for method in study.methods]


def test_every_experiment_is_there_on_every_setting() -> None:
    assert set(PAPER) < set(experiments())
    assert all([*experiments().values(), *settings().values(), *single_studies().values()]), "each is described"
    # Fewer would mean that two files make a study of the same name.
    assert len(studies()) == len(experiments()) * len(settings()) + len(single_studies())


@pytest.mark.parametrize("name", studies())
def test_every_study_is_planned(name: str) -> None:
    study = Study.load(name)
    assert study.name == name.replace("/", "-")
    assert study.description == studies()[name]
    scale = name.partition("/")[0]
    assert study.replicates == REPLICATES.get(
        (study.network, study.dataset), 5 if scale == "paper" else study.replicates
    )
    assert study.sizes[0] >= 3
    assert study.recipe == {} or scale != "paper", "at the paper's scale the recipe is the network's own"
    assert plan(study).trials


def test_an_experiment_is_one_file(add_file: AddFile) -> None:
    before = studies().keys()
    text = 'extends = "e1"\ndescription = "at few levels"\nmethods = ["snip"]\nsparsities = { levels = "{few}" }\n'
    add_file("experiments/e9.toml", text)
    assert studies().keys() - before == {study_name("e9", setting) for setting in settings()}
    study = Study.load("paper/e9-resnet-20")
    assert (study.name, study.description) == ("paper-e9-resnet-20", f"{settings()['paper/resnet-20']}: at few levels")
    assert (study.network, study.ablations, names(study)) == ("resnet-20", (), ["snip"])
    assert study.sparsities == Study.load("paper/e5-resnet-20").sparsities


def test_a_setting_is_one_file(add_file: AddFile) -> None:
    before = studies().keys()
    fields = 'description = "mine"\nnetwork = "resnet-8"\ndataset = "digits"\nrecipe = { epochs = 2 }\n'
    values = 'coarse = [3, 5]\nfew = [5]\nfine = [3, 4, 5]\nmatching = [4]\nsteps = ["0ep", "1ep"]\n'
    add_file("settings/desk/mine.toml", f"{fields}[values]\n{values}[experiments.e7]\nreplicates = 9\n")
    assert studies().keys() - before == {study_name(name, "desk/mine") for name in experiments()}
    late = Study.load("desk/e4-mine")
    assert (late.sparsities, late.prune_at, late.recipe) == ((0.5904,), ("0ep", "1ep"), {"epochs": 2})
    rewinding = ("lottery-rewinding:0ep", "lottery-rewinding:1ep")
    assert late.benchmarks == ("magnitude-after-training", *rewinding), "text around a list is repeated for its items"
    assert "snip, 100 examples a class" in [method.label for method in Study.load("desk/e6-mine").methods]
    assert (late.replicates, Study.load("desk/e7-mine").replicates) == (3, 9), (
        "a setting's own fields for an experiment"
    )


@pytest.mark.parametrize(
    ("path", "text", "study", "expected"),
    [
        (
            "experiments/e9.toml",
            'extends = "e1"\ndescription = ""\nsparsities = { levels = "{fw}" }\n',
            "laptop/e9-digits",
            r'^laptop/e9-digits \(.*e9.toml on .*digits.toml\): values: unknown value "fw"; .*did you mean "few"\?$',
        ),
        (
            "settings/laptop/mine.toml",
            'description = ""\n[experiments.e11]\nreplicates = 9\n',
            "laptop/e1-mine",
            r'^laptop/e1-mine \(.*mine.toml\): experiments: unknown experiment "e11"; .*did you mean "e1"\?$',
        ),
        (
            "experiments/e9.toml",
            'extends = "e1"\ndescription = ""\nmethods = ["snipp"]\n',
            "laptop/e9-digits",
            r'^laptop/e9-digits \(.*e9.toml on .*digits.toml\): methods\[0\]: unknown method "snipp"',
        ),
        (
            "settings/laptop/mine.toml",
            "x = \n",
            "laptop/e1-mine",
            r"/laptop/mine.toml: not valid TOML: ",
        ),
        (
            "bad.toml",
            'description = ""\n' + FILE.replace("snip", "snipp"),
            "bad",
            r'^studies/bad.toml: methods\[0\]: unknown method "snipp"',
        ),
    ],
)
def test_what_is_wrong_with_a_shipped_study_is_one_sentence_that_names_its_files(
    add_file: AddFile, path: str, text: str, study: str, expected: str
) -> None:
    add_file(path, text)
    with pytest.raises(StudyError, match=expected) as caught:
        Study.load(study)
    assert len(caught.value.problems) == 1


def test_the_list_of_studies_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    list_names("studies")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    first = [line for line in lines if not line.startswith(" ")]  # a long description goes on in the next line
    assert len(first) == len(single_studies()) + len(experiments()) + len(settings()) + 4
    listed = {line.partition(" ")[0] for line in lines}
    assert {*single_studies(), *experiments(), *settings()} <= listed


@pytest.mark.parametrize("setting", settings())
def test_each_experiment_asks_its_question(setting: str) -> None:
    e1, e2, e3, e4, e5, e6, init, e7 = (experiment(name, setting) for name in PAPER)
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


@pytest.mark.parametrize("setting", settings())
def test_experiments_of_a_network_share_their_jobs(setting: str) -> None:
    whole = {job.key for job in plan(Study.load(setting)).jobs}
    for name in ("e2", "e3"):
        assert {job.key for job in plan(experiment(name, setting)).jobs} <= whole
    trials = {(t.method, t.ablation, t.benchmark, t.sparsity) for t in plan(Study.load(setting)).trials}
    parts = [t for name in ("e1", "e2", "e3") for t in plan(experiment(name, setting)).trials]
    assert trials <= {(t.method, t.ablation, t.benchmark, t.sparsity) for t in parts}


def test_later_methods_are_put_through_the_same_battery() -> None:
    study = Study.load("laptop/later-digits")
    assert {"iter-snip", "force", "prospr", "phew", "ntk-sap"} <= set(names(study))
    assert {(m.name, m.quotas) for m in study.methods if m.quotas} == {("random", "erk"), ("random", "igq")}
    assert study.sparsities == Study.load("laptop/digits").sparsities


@pytest.mark.parametrize("name", ["digits", "fashion-mnist", "resnet"])
def test_sequential_studies_ask_for_the_conclusion_at_matching_and_beyond_until_claims_settle(name: str) -> None:
    study = Study.load(f"laptop/sequential-{name}")
    assert study.looks is not None
    assert (study.looks.min, study.looks.until) == (3, "claims")
    assert set(names(study)) == {"random", "magnitude", "snip", "grasp", "synflow"}
    assert "magnitude-after-training" in study.benchmarks
    assert "shuffle" in study.ablations
    assert len(study.sparsities) >= 2

"""The command line as a user meets it: what it prints, what it writes, how it exits."""

import contextlib
import io
import json
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import prunemark as pm
from prunemark.cli import main
from prunemark.reports import theme
from prunemark.study.executors import EXECUTORS, ExecutorEntry
from tests.study.inline import InlineExecutor

STUDY = """
name = "tiny"
network = "lenet-300-100"
dataset = "digits"
methods = ["random", "snip"]
benchmarks = ["magnitude-after-training"]
ablations = ["shuffle"]
sparsities = [0.9]
replicates = 3
[recipe]
epochs = 1
"""


@dataclass
class Finished:
    returncode: int
    stdout: str
    stderr: str


def prunemark(*arguments: str | Path, cwd: Path) -> Finished:
    """Run the command line in this process: as a user does, but without importing torch each time."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        argv, sys.argv = sys.argv, ["prunemark", *map(str, arguments)]
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        finally:
            sys.argv = argv
    return Finished(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the tiny study has been run."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.toml").write_text(STUDY)
    done = prunemark("run", "tiny.toml", "--out", "results", "--workers", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_run_tells_its_plan_before_and_the_verdicts_after(folder):
    told = (folder / "stderr").read_text()
    assert "study tiny: lenet-300-100 on digits, 3 replicates" in told
    assert "expected time:" in told
    assert "jobs done" in told
    printed = (folder / "stdout").read_text()
    headline = pm.judge(folder / "results").subjects[0].sentences(theme.display_name)[0]
    assert " ".join(printed.split()).startswith(" ".join(headline.split()))
    assert "\x1b" not in printed
    assert max(len(line) for line in printed.splitlines() if not line.startswith("report:")) <= 80
    assert "C3" in printed
    assert "Shuffling within layers keeps accuracy" in printed
    assert printed.rstrip().endswith("report.html")
    page = (folder / "results" / "report.html").read_text()
    assert "tiny" in page
    for name in ("accuracy", "ablations"):
        assert (folder / "results" / "report-figures" / f"{name}.svg").stat().st_size > 1000
        assert (folder / "results" / "report-figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_running_again_does_nothing_again(folder):
    again = prunemark("run", "tiny.toml", "--out", "results", cwd=folder)
    assert again.returncode == 0
    assert "nothing is left to do" in again.stderr
    assert "0 jobs done" in again.stderr


def test_what_the_results_say_as_json(folder):
    for command in (("report", "results", "--json"), ("run", "tiny.toml", "--out", "results", "--json")):
        said = json.loads(prunemark(*command, cwd=folder).stdout)
        judged = pm.judge(folder / "results")
        assert said["headline"] == judged.headline_with(theme.display_name)
        assert (said["study"], said["trials"]) == ("tiny", {"finished": 18, "planned": 18})
        assert [one["claim"] for one in said["claims"]] == list(judged.claims.claim)
        assert said["claims"][0].keys() == set(judged.claims.columns)
        assert (folder / said["report"]).is_file()


def test_dry_run_writes_nothing(folder, tmp_path):
    dry = prunemark("run", folder / "tiny.toml", "--out", "nowhere", "--dry-run", cwd=tmp_path)
    assert dry.returncode == 0
    assert "trainings of subnetworks" in dry.stderr
    assert list(tmp_path.iterdir()) == []


def test_fields_are_set_on_the_command_line(folder, tmp_path):
    command = ("run", folder / "tiny.toml", "--out", "nowhere", "--dry-run")
    dry = prunemark(*command, "--set", "recipe.epochs=2", "--set", 'methods=["snip"]', cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert 'set: recipe.epochs = 2, methods = ["snip"]' in " ".join(dry.stderr.split())
    wrong = prunemark(*command, "--set", "recipe.epoch=2", cwd=tmp_path)
    assert wrong.returncode == 2
    assert 'unknown recipe field "epoch"' in wrong.stderr
    assert 'did you mean "epochs"?' in wrong.stderr


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_export(folder, format):
    done = prunemark("export", "results", "--format", format, "--out", f"table.{format}", cwd=folder)
    assert done.returncode == 0, done.stderr
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[format]
    table = read(folder / f"table.{format}")
    # 3 replicates of dense, random, snip twice, magnitude after training twice.
    assert len(table) == 18
    assert set(table["status"]) == {"done"}


def test_report_can_be_written_again_elsewhere(folder, tmp_path):
    done = prunemark("report", folder / "results", "--out", tmp_path / "page.html", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "page.html").is_file()
    assert (tmp_path / "page-figures" / "accuracy.svg").is_file()


@pytest.mark.parametrize("kind", ["methods", "networks", "datasets", "studies"])
def test_list(folder, kind):
    done = prunemark("list", kind, cwd=folder)
    expected = {"methods": "snip", "networks": "resnet-20", "datasets": "fashion-mnist", "studies": "quickstart"}
    assert done.returncode == 0
    assert expected[kind] in done.stdout


def test_wrong_usage_says_what_is_known_and_exits_with_2(folder, tmp_path):
    (tmp_path / "bad.toml").write_text(
        'name = "bad"\nnetwork = "resnt-8"\ndataset = "digits"\nmethods = ["snip", "snipp"]\nsparsities = [1.0]\n'
        "epoch = 3\n"
    )
    wrong = prunemark("run", "bad.toml", cwd=tmp_path)
    assert wrong.returncode == 2
    lines = wrong.stderr.splitlines()
    assert all(line.startswith("error: bad.toml") for line in lines)
    text = wrong.stderr
    assert 'unknown network "resnt-8"' in text
    assert "methods[1]" in text
    assert 'did you mean "snip"?' in text
    assert "sparsities[0]" in text
    assert "epoch" in text
    assert len(lines) == 4
    assert not (tmp_path / "prunemark-bad").exists()

    for arguments, message in [
        (("list", "method"), 'unknown kind "method"; known: datasets, methods, networks, studies'),
        (("run", "quickstrt"), 'did you mean "quickstart"?'),
        (("report", "nowhere"), "nowhere holds no results of prunemark: there is no such folder"),
        (("export", folder / "results", "--format", "xls"), 'unknown format "xls"; known: csv, json, latex, parquet'),
        (("run", "quickstart", "--executor", "cloud"), 'unknown executor "cloud"'),
        (("run", "quickstart", "--device", "tpu9"), 'device "tpu9" cannot be used here'),
        (("report", folder / "results", "--study", "tny"), 'unknown study "tny"; known: tiny; did you mean "tiny"?'),
    ]:
        wrong = prunemark(*arguments, cwd=tmp_path)
        assert wrong.returncode == 2, wrong
        assert wrong.stderr.startswith("error: ")
        assert message in wrong.stderr
        assert "Traceback" not in wrong.stderr


def test_a_damaged_data_file_is_named_with_both_checksums(tmp_path):
    (tmp_path / "fm.toml").write_text(STUDY.replace('"digits"', '"fashion-mnist"'))
    data = tmp_path / "data" / "fashion-mnist"
    data.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (data / f"{name}-ubyte.gz").write_bytes(b"not the file")
    wrong = prunemark("run", "fm.toml", "--data-dir", tmp_path / "data", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "train-images-idx3-ubyte" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_an_unwritable_folder(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    wrong = prunemark("run", folder / "tiny.toml", "--out", tmp_path / "file" / "out", cwd=tmp_path)
    assert wrong.returncode == 2
    assert str(tmp_path / "file") in wrong.stderr


def test_a_function_that_fails_is_told_before_anything_trains(tmp_path):
    (tmp_path / "mine.py").write_text("def broken(problem):\n    raise RuntimeError('no luck')\n")
    done = prunemark("check", "mine.py:broken", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: check-broken: methods[1]: ")
    assert done.stderr.endswith("mine.py:broken failed in line 2: RuntimeError: no luck\n")


def test_failed_jobs_exit_with_1_and_leave_the_others(tmp_path):
    # With the seed of a replicate, but not when the study is checked.
    (tmp_path / "mine.py").write_text(
        "def broken(problem):\n    return dict(problem.weights) if 1 / (not problem.seed) else 0\n"
    )
    (tmp_path / "s.toml").write_text(STUDY.replace('"random"', '"mine.py:broken"').replace('["shuffle"]', "[]"))
    done = prunemark("run", "s.toml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stdout + done.stderr
    exported = prunemark("export", "out", "--format", "json", "--out", "t.json", cwd=tmp_path)
    assert exported.returncode == 0
    status = pd.DataFrame(json.loads((tmp_path / "t.json").read_text())).groupby("method")["status"].agg(set)
    assert status["broken"] == {"failed"}
    assert status["snip"] == {"done"}


def test_version_and_help():
    assert prunemark("--version", cwd=Path.cwd()).stdout.startswith("prunemark 0.")
    shown = prunemark("--help", cwd=Path.cwd()).stdout
    assert "..." not in shown.partition("Commands")[2]
    assert all(command in shown for command in ("run", "report", "export", "list"))


def test_ctrl_c_is_said_and_exits_with_130(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("prunemark.prune", interrupted)
    arguments = ("prune", "resnet-8", "--dataset", "digits", "--sparsity", "0.9", "--out", "m.safetensors")
    stopped = prunemark(*arguments, cwd=tmp_path)
    assert (stopped.returncode, stopped.stderr) == (130, "interrupted\n")


SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_a_signal_ends_says_what_is_left_and_is_resumed(tmp_path, monkeypatch, number):
    submit, sent = InlineExecutor.submit, []

    def ended(self, job):
        submit(self, job)
        if job.kind == "train" and not sent:
            sent.append(number)
            signal.raise_signal(number)

    entry = ExecutorEntry(target="tests.study.inline:InlineExecutor", summary="for tests")
    monkeypatch.setitem(EXECUTORS, "inline", entry)
    monkeypatch.setattr(InlineExecutor, "submit", ended)
    (tmp_path / "tiny.toml").write_text(STUDY)
    arguments = ("run", "tiny.toml", "--set", "replicates=1", "--executor", "inline", "--out", "results")
    stopped = prunemark(*arguments, cwd=tmp_path)
    assert stopped.returncode == 128 + number
    assert re.search(r"stopped; \d+ jobs are left\. Run the same command again to resume\.\n$", stopped.stderr)
    assert signal.getsignal(number) == signal.SIG_DFL
    again = prunemark(*arguments, cwd=tmp_path)
    assert again.returncode == 0
    assert "were there already" in again.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_any_command_that_a_signal_ends_says_so(tmp_path, monkeypatch, number):
    monkeypatch.setattr("prunemark.prune", lambda *_, **__: signal.raise_signal(number))
    arguments = ("prune", "resnet-8", "--dataset", "digits", "--sparsity", "0.9", "--out", "m.safetensors")
    stopped = prunemark(*arguments, cwd=tmp_path)
    assert (stopped.returncode, stopped.stderr) == (128 + number, "interrupted\n")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr("prunemark.prune", lambda *_, **__: signal.raise_signal(signal.SIGTERM) or sys.exit(7))
    arguments = ("prune", "resnet-8", "--dataset", "digits", "--sparsity", "0.9", "--out", "m.safetensors")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert prunemark(*arguments, cwd=tmp_path).returncode == 7
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_prune_writes_masks_that_inspect_explains(tmp_path):
    arguments = ("prune", "resnet-8", "--method", "snip", "--sparsity", "0.9", "--dataset", "digits")
    done = prunemark(*arguments, "--out", "m.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    masks = pm.Masks.load(tmp_path / "m.safetensors")
    assert masks.kept == round((1 - 0.9) * masks.total)
    assert f"{masks.kept:,}" in done.stdout
    shown = prunemark("inspect", "m.safetensors", cwd=tmp_path)
    assert shown.returncode == 0
    assert "method       snip" in shown.stdout
    assert "effective sparsity" in shown.stdout
    again = prunemark(*arguments, "--shuffle", "--quotas", "m.safetensors", "--out", "s.safetensors", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    shuffled = pm.Masks.load(tmp_path / "s.safetensors")
    assert [c.kept for c in shuffled.layers()] == [c.kept for c in masks.layers()]
    assert "certificate  shuffle" in prunemark("inspect", "s.safetensors", cwd=tmp_path).stdout


def test_inspect_refuses_nothing_that_a_foreign_provenance_says_and_prints_it_harmless(tmp_path):
    masks = pm.prune(pm.network("resnet-8", input_shape=(1, 8, 8), classes=10), "magnitude", sparsity=0.5)
    for number, foreign in enumerate(
        (
            {"network": 5, "input_shape": [1, 8, 8]},
            {"network": "resnet-8", "input_shape": "abc"},
            {"network": "resnet-8", "input_shape": 7},
            {"network": "resnet-8", "input_shape": [1, 10**9, 10**9]},
            {"certificate": "none"},
            {"certificate": {"changed": 1}},
            {"method": "\x1b]0;title\x07[bold]"},
        )
    ):
        path = tmp_path / f"{number}.safetensors"
        pm.Masks(masks, provenance=masks.provenance | foreign).save(path)
        shown = prunemark("inspect", path, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert f"{masks.kept:,}" in shown.stdout
        assert "\x1b" not in shown.stdout
    assert "[bold]" in shown.stdout


def test_inspect_needs_to_know_what_goes_into_a_network(tmp_path):
    model = pm.network("resnet-8", input_shape=(1, 8, 8), classes=10)
    pm.prune(model, "magnitude", sparsity=0.5).save(tmp_path / "m.safetensors")
    wrong = prunemark("inspect", "m.safetensors", "--network", "resnet-8", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.strip().endswith("give --input-shape")
    arguments = ("inspect", "m.safetensors", "--input-shape", "1,8,8", "--network")
    assert "effective" in prunemark(*arguments, "resnet-8", cwd=tmp_path).stdout
    deeper = prunemark(*arguments, "resnet-14", cwd=tmp_path).stdout
    assert "6 prunable tensors of resnet-14 have no mask" in deeper
    other = prunemark(*arguments, "lenet-300-100", cwd=tmp_path)
    assert other.returncode == 2
    assert "of another model" in other.stderr


def test_prune_a_network_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n"
        "def build(*, input_shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))\n"
    )
    arguments = ("prune", "mine.py:build", "--method", "synflow", "--sparsity", "0.5", "--out", "m.safetensors")
    done = prunemark(*arguments, "--input-shape", "3,2,2", "--classes", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pm.Masks.load(tmp_path / "m.safetensors").kept == 24
    # Inspecting runs no file that is not named on the command line.
    (tmp_path / "mine.py").write_text("raise SystemExit(9)\n")
    assert prunemark("inspect", "m.safetensors", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "snipp", "--dataset", "digits"), 'did you mean "snip"?'),
        (("--method", "snip"), "give either --dataset, or --input-shape"),
        (("--method", "snip", "--input-shape", "3,8,8"), "snip scores with examples: give --dataset"),
        (("--input-shape", "3x8"), '--input-shape is written like "3,32,32"'),
        (("--dataset", "digits", "--quotas", "erl"), 'did you mean "erk"?'),
        (("--dataset", "digits", "--sparsity", "1.5"), "in [0, 1); got 1.5"),
        (("--dataset", "digits", "--out", "no/m.safetensors"), "there is no folder no"),
        (("--dataset", "digits", "--out", "."), "this is a folder"),
        (("--dataset", "digits", "--quotas", "no.safetensors"), "there is no such file"),
        # Both would leave open which of them counts.
        (("--dataset", "digits", "--input-shape", "5,9,9"), "give either --dataset, or --input-shape"),
        # Before any data are looked for.
        (("--dataset", "imagenet", "--method", "snipp"), 'did you mean "snip"?'),
    ],
)
def test_wrong_input_of_prune(tmp_path, arguments, message):
    base = ("prune", "resnet-8", "--sparsity", "0.9", "--out", "m.safetensors")
    wrong = prunemark(*base, *arguments, cwd=tmp_path)
    assert wrong.returncode == 2
    assert message in wrong.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine.py:x", "--method", "magnitude"), '"mine.py:x" cannot be called: it is of type int'),
        (
            ("mine.py:noarg", "--method", "magnitude"),
            "mine.py:noarg failed: TypeError: noarg() got an unexpected keyword argument 'input_shape'",
        ),
        (("lenet-300-100", "--method", "mine.py:broken"), "mine.py:broken failed in line 4: KeyError: 'zz'"),
    ],
)
def test_ones_own_code_that_fails_is_one_sentence(tmp_path, arguments, message):
    (tmp_path / "mine.py").write_text("x = 3\ndef noarg(): ...\ndef broken(problem):\n    return {}['zz']\n")
    base = ("--sparsity", "0.9", "--out", "m.safetensors", "--input-shape", "1,8,8")
    wrong = prunemark("prune", *arguments, *base, cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, f"error: {message}\n")


def test_inspect_tells_what_was_done_before_a_shuffle(tmp_path):
    arguments = ("--dataset", "digits", "--sparsity", "0.9", "--out", "m.safetensors", "--invert", "--shuffle")
    # Pixels that are always 0 give weights without a score, and an inversion keeps those first.
    with pytest.warns(pm.UnscoredWarning):
        assert prunemark("prune", "lenet-300-100", *arguments, cwd=tmp_path).returncode == 0
    told = prunemark("inspect", "m.safetensors", cwd=tmp_path).stdout
    assert "before       invert: " in told
    assert "certificate  shuffle: " in told


def test_check_says_in_words_whether_a_methods_decisions_matter(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def largest(problem):\n    return {n: w.detach().abs() for n, w in problem.weights.items()}\n"
    )
    (tmp_path / "tiny.toml").write_text(STUDY)
    check = ("check", "mine.py:largest", "--study", "tiny.toml", "--out", "out", "--against", "snip")
    check = (*check, "--set", "recipe.batch_size=100")
    done = prunemark(*check, "--sparsities", "0.8", "--format", "latex", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/check.tex").read_text()
    assert r"\toprule" in table
    assert "largest & better than snip & " in table
    again = json.loads(prunemark(*check, "--sparsities", "0.8", "--json", cwd=tmp_path).stdout)
    assert (again["method"], again["study"]) == ("largest", "check-largest")
    assert again["answers"][0].startswith("This study cannot test the paper's claims: training hardly left")
    assert "study check-largest" in done.stderr
    assert "set: recipe.batch_size = 100" in done.stderr
    # A training this short keeps the initialisation's magnitudes: no question can be answered, and that is said.
    assert "- This study cannot test the paper's claims: training hardly left" in done.stdout.replace("\n", " ")
    taken = prunemark(*check, "--set", "methods=[]", cwd=tmp_path)
    assert (taken.returncode, taken.stderr) == (
        2,
        "error: --set methods: check gives its study name and methods itself\n",
    )
    wrong = prunemark("check", "snip", cwd=tmp_path)
    assert wrong.returncode == 2
    assert '"snip" is not of the form FILE.py:METHOD' in wrong.stderr


def test_all_that_is_wrong_with_a_check_is_said_at_once(tmp_path):
    (tmp_path / "mine.py").write_text("def largest(problem): ...\n")
    arguments = ("--against", "snip,synflwo", "--sparsities", "0.9,1.0,x", "--replicates", "0", "--format", "xls")
    wrong = prunemark("check", "mine.py:largest", *arguments, cwd=tmp_path)
    assert wrong.returncode == 2
    said = wrong.stderr.splitlines()
    assert [line.partition(": ")[2].split(":")[0] for line in said] == [
        "--against", "--sparsities", "--sparsities", "--replicates", "--format"
    ]  # fmt: skip
    assert said[0].endswith('did you mean "synflow"?')
    assert said[1].endswith("in [0, 1), not 1.0")
    twice = prunemark("check", "mine.py:largest", "--sparsities", "0.9,0.9000000000001", cwd=tmp_path)
    assert "sparsities[1]: 0.9000000000001 is already there, as 0.9" in twice.stderr


def test_fetching_from_the_hub_does_not_say_that_the_data_are_part_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr("prunemark.datasets.hub.load", lambda name, data_dir: None)
    assert prunemark("data", "fetch", "hub:me/tiny", cwd=tmp_path).stdout == "hub:me/tiny is here\n"


def test_data_verify(tmp_path):
    assert prunemark("data", "verify", "digits", cwd=tmp_path).stdout == "part of the package: nothing to fetch\n"
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    shown = prunemark("data", "verify", "fashion-mnist", "--data-dir", tmp_path, cwd=tmp_path)
    assert shown.returncode == 1
    assert shown.stdout.startswith("damaged  train-images-idx3-ubyte.gz  expected ")
    assert prunemark("data", "verify", "cifar", cwd=tmp_path).returncode == 2

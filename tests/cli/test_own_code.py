"""Code of the user's in a study, through `prunemark run`: stale, contaminating, ending the program, never returning."""

from pathlib import Path

import pandas as pd
import pytest

import prunemark as pm
from tests.cli.test_cli import prunemark

STUDY = """
name = "tiny"
network = "lenet-300-100"
dataset = "digits"
methods = [METHODS]
sparsities = [0.9]
replicates = 1
recipe = { epochs = 1 }
"""
PLAIN = "def plain(problem):\n    return {n: w.detach().abs() for n, w in problem.weights.items()}\n"


def study(folder: Path, methods: str, more: str = "") -> None:
    (folder / "s.toml").write_text(STUDY.replace("METHODS", methods) + more)


def trials(folder: Path) -> pd.DataFrame:
    return pm.results(folder).set_index("method")[["job_key", "test_accuracy", "test_loss"]]


def test_what_a_file_imports_and_declares_is_part_of_its_results(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import json, pathlib\nimport helper\n"
        "def own(problem):\n"
        "    power = json.loads((pathlib.Path(__file__).parent / 'power.json').read_text())\n"
        "    return {n: helper.sign * w.detach().abs() ** power for n, w in problem.weights.items()}\n"
    )
    (tmp_path / "helper.py").write_text("sign = +1\n")
    (tmp_path / "power.json").write_text("1.0")
    study(tmp_path, '"magnitude", "mine.py:own"', 'depends_on = ["power.json"]\n')
    first = prunemark("run", "s.toml", "--out", "out", "--workers", "1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "mine.py or what it imports (helper) or what it depends on (power.json)" in " ".join(first.stderr.split())
    assert f"runs code: {tmp_path / 'mine.py'}:own\n" in first.stderr, "named before it is run"
    before = trials(tmp_path / "out")
    assert before.test_loss["own"] == before.test_loss["magnitude"]
    (tmp_path / "helper.py").write_text("sign = -1\n")
    again = prunemark("run", "s.toml", "--out", "out", "--workers", "1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    after = trials(tmp_path / "out")
    assert after.test_loss["own"] != before.test_loss["own"]
    assert after.job_key["own"] != before.job_key["own"]
    assert after.drop("own").equals(before.drop("own"))
    (tmp_path / "power.json").write_text("2.0")
    assert prunemark("run", "s.toml", "--out", "out", "--workers", "1", cwd=tmp_path).returncode == 0
    assert trials(tmp_path / "out").job_key["own"] != after.job_key["own"]


CONTAMINATING = (
    "import os, random, warnings\nimport numpy, torch\n"
    "def own(problem):\n"
    "    assert torch.get_default_dtype() == torch.float32 and 'LEFT' not in os.environ\n"
    "    scores = {n: w.detach().abs() for n, w in problem.weights.items()}\n"
    "    os.environ['LEFT'] = 'behind'\n"
    "    torch.set_default_dtype(torch.float64)\n"
    "    torch.set_num_threads(2)\n"
    "    torch.set_flush_denormal(False)\n"
    "    torch.set_grad_enabled(False)\n"
    "    torch.set_float32_matmul_precision('medium')\n"
    "    torch.use_deterministic_algorithms(True)\n"
    "    torch.autocast('cpu').__enter__()\n"
    "    torch.manual_seed(7); random.seed(7); numpy.random.seed(7)\n"
    "    warnings.simplefilter('error')\n"
    "    torch.randperm = lambda n, **_: torch.arange(n)\n"
    "    torch.nn.functional.cross_entropy = lambda outputs, targets: outputs.square().mean()\n"
    "    torch.Tensor.abs = lambda self: self\n"
    "    return scores\n"
)


def test_what_a_method_does_to_its_process_changes_no_other_result(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CONTAMINATING + PLAIN)
    study(tmp_path, '"snip"')
    assert prunemark("run", "s.toml", "--out", "alone", "--workers", "1", cwd=tmp_path).returncode == 0
    study(tmp_path, '"mine.py:own", "mine.py:plain", "magnitude", "snip"')
    done = prunemark("run", "s.toml", "--out", "together", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    alone, together = trials(tmp_path / "alone"), trials(tmp_path / "together")
    assert together.loc[alone.index].equals(alone)
    # All three are |w|.
    assert together.test_loss[["own", "plain", "magnitude"]].nunique() == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys\nsys.exit(0)\ndef own(problem): ...\n", r"mine.py failed: sys.exit(0) ends the program"),
        ("def own(problem):\n    raise SystemExit(0)\n", "mine.py:own ended the program in line 2: sys.exit(0)"),
        ("import os\nos._exit(0)\ndef own(problem): ...\n", "mine.py:own ended the program with exit code 0"),
        ("def own(problem):\n    while True: pass\n", "mine.py:own has not returned after 8 s; if it needs longer"),
        (
            "import importlib\ndef own(problem):\n    importlib.import_module('hel' + 'per')\n"
            "    return {n: w.abs() for n, w in problem.weights.items()}\n",
            'add depends_on = ["helper.py"] to the study',
        ),
    ],
)
def test_code_that_ends_or_never_ends_the_check_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "helper.py").write_text("")
    study(tmp_path, '"mine.py:own"')
    done = prunemark("run", "s.toml", "--out", "out", "--check-timeout", "8", cwd=tmp_path)
    assert done.returncode == 2
    named, said = done.stderr.splitlines()
    assert named == f"runs code: {tmp_path}/mine.py:own"
    assert sentence in said
    assert not (tmp_path / "out").exists()


def test_a_network_that_ends_the_program_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\ndef build(input_shape, classes): os._exit(0)\n")
    study(tmp_path, '"snip"')
    text = (tmp_path / "s.toml").read_text().replace("lenet-300-100", "mine.py:build")
    (tmp_path / "s.toml").write_text(text)
    done = prunemark("run", "s.toml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    named, said = done.stderr.splitlines()
    assert named == f"runs code: {tmp_path}/mine.py:build"
    assert said == f"error: tiny: network: {tmp_path}/mine.py:build ended the program with exit code 0"


def test_a_job_that_ends_its_process_has_failed(tmp_path: Path) -> None:
    # The check scores with seed 0.
    (tmp_path / "mine.py").write_text(
        "import os, sys\n"
        "def quits(problem):\n    return os._exit(0) if problem.seed else dict(problem.weights)\n"
        "def leaves(problem):\n    return sys.exit(0) if problem.seed else dict(problem.weights)\n"
    )
    study(tmp_path, '"mine.py:quits", "mine.py:leaves", "magnitude"')
    done = prunemark("run", "s.toml", "--out", "out", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 1
    told = " ".join(done.stderr.split())  # the terminal's lines break it
    assert "ended with exit code 0 before the job was done" in told
    assert "SystemExit: 0" in told
    results = pm.results(tmp_path / "out").set_index("method")
    assert list(results.status[["quits", "leaves", "magnitude"]]) == ["failed", "failed", "done"]

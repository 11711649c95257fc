"""`--json`, `--quiet` and completion: the command line as other programs and shells meet it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import prunemark as pm
from prunemark.cli import completion
from tests.cli.test_cli import STUDY, prunemark


def test_prune_and_inspect_as_json(tmp_path):
    arguments = ("prune", "resnet-8", "--method", "magnitude", "--sparsity", "0.9", "--input-shape", "1,8,8")
    told = json.loads(prunemark(*arguments, "--out", "m.safetensors", "--json", cwd=tmp_path).stdout)
    masks = pm.Masks.load(tmp_path / "m.safetensors")
    assert (told["masks"], told["kept"], told["total"]) == ("m.safetensors", masks.kept, masks.total)
    assert [layer["kept"] for layer in told["layers"]] == [layer.kept for layer in masks.layers()]
    assert told["provenance"]["method"] == "magnitude"
    shown = json.loads(prunemark("inspect", "m.safetensors", "--json", cwd=tmp_path).stdout)
    assert {name: shown[name] for name in told} == told
    model = pm.network("resnet-8", input_shape=(1, 8, 8), classes=10)
    topology = pm.topology(model, masks, input_shape=(1, 8, 8))
    assert shown["topology"]["effective"] == topology.effective
    assert (shown["network"], shown["without_mask"]) == ("resnet-8", [])


def test_masks_of_an_unknown_network_as_json(tmp_path):
    model = pm.network("resnet-8", input_shape=(1, 8, 8), classes=10)
    pm.prune(model, "magnitude", sparsity=0.5).save(tmp_path / "m.safetensors")
    shown = json.loads(prunemark("inspect", "m.safetensors", "--json", cwd=tmp_path).stdout)
    assert shown["sparsity"] == pytest.approx(0.5, abs=1e-4)
    assert "topology" not in shown


@pytest.mark.parametrize("kind", ["methods", "networks", "datasets", "studies"])
def test_lists_as_json(kind, tmp_path):
    said = json.loads(prunemark("list", kind, "--json", cwd=tmp_path).stdout)
    assert len({each["name"] for each in said}) == len(said)
    assert all(each["summary"] for each in said)


def test_quiet_prints_results_alone(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("replicates = 3", "replicates = 1"))
    done = prunemark("run", "tiny.toml", "--out", "out", "--workers", "2", "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("report.html")


def test_names_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.toml").touch()
    (tmp_path / "mine.py").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "other.toml").touch()
    assert completion.studies("qui") == ["quickstart", "quick.toml"]
    assert completion.studies("more/") == ["more/other.toml"]
    assert completion.methods("mi") == ["mine.py"]
    assert completion.methods("syn") == ["synflow", "synflow:synaptic-flow"]
    assert completion.several_methods("snip,gra") == [
        f"snip,{name}" for name in ("grasp", "grasp:halves", "grasp:open-lth", "grasp:reversed", "graspabs")
    ]
    assert completion.networks("lenet") == ["lenet-300-100"]
    assert completion.datasets("fash") == ["fashion-mnist", "fashion-mnist-small"]
    assert completion.trackers("ten") == ["tensorboard"]


def test_a_shell_is_answered():
    """As bash asks: the program itself, with what has been typed in the environment."""
    environment = os.environ | {
        "_PRUNEMARK_COMPLETE": "complete_bash", "COMP_WORDS": "prunemark prune lenet", "COMP_CWORD": "2",
        "PYTHONPATH": str(Path(pm.__file__).parents[1]),
    }  # fmt: skip
    code = "import sys; sys.argv[0] = 'prunemark'; from prunemark.cli import main; main()"
    answered = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert answered.stdout.split() == ["lenet-300-100"]

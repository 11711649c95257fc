import os
import subprocess
import sys
from pathlib import Path

from prunemark.study.exports import results

SCRIPT = Path(__file__).parents[2] / "tools/slurm-ray.sh"
STUDY = """
name = "short"
network = "lenet-300-100"
dataset = "digits"
methods = ["random"]
sparsities = [0.5]
replicates = 1
recipe = { epochs = 1, rewind_to = "3it" }
"""


def test_the_script_for_slurm_runs_a_study_on_this_machine(tmp_path: Path) -> None:
    """Without Slurm, its one node is this machine; all but `srun` is as in an allocation."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "prunemark").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from prunemark.cli import main; main()" "$@"\n'
    )
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "short.toml").write_text(STUDY)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "RAY_HEAD_IP": "127.0.0.2", "RAY_HEAD_PORT": "26379"}
    done = subprocess.run(
        ["bash", str(SCRIPT), "short.toml", "out", "--workers", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 nodes have joined" in done.stdout
    assert set(results(tmp_path / "out").status) == {"done"}


def test_the_script_says_how_it_is_called() -> None:
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith("usage: sbatch")) == (2, True)

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc to find the workers")
@pytest.mark.parametrize(("kills", "epochs"), [(12, 6), pytest.param(50, 30, marks=pytest.mark.soak)])
def test_whatever_is_killed_and_when_every_number_is_that_of_an_undisturbed_run(
    tmp_path: Path, kills: int, epochs: int
) -> None:
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.study.drill"]
    numbers = map(str, (kills, kills, epochs))
    drill = subprocess.run([*program, str(tmp_path), *numbers], capture_output=True, text=True, check=False)
    assert drill.returncode == 0, drill.stderr
    said = json.loads(drill.stdout)
    assert said["kills"] == kills
    assert said["resumed"] > kills / 6, "jobs were killed in their middle, and resumed there"

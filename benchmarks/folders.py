"""What large studies cost beside their training: planning, resuming, verifying, tables, the report.

    .venv/bin/python benchmarks/folders.py [--replicates 4 40 400] [--sparsities 12] [--keep DIR]

The folders are made up: every job of a study of LeNet-300-100 on the digits is recorded as done, with numbers drawn at
random and counts for its three layers. Each line is measured in a process of its own: processor seconds, and memory at
its largest. With more replicates cells become fuller; with more sparsities there are more of them.
"""

import argparse
import contextlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prunemark.study.job import Outcome
from prunemark.study.plan import Plan, plan
from prunemark.study.spec import Study
from prunemark.study.store import Store
from prunemark.study.store.rows import COLUMNS, job_row, names, sealed

STEPS = ("plan", "resume", "verify", "results", "layers", "export", "report")
LAYERS = (("fc1.weight", 300, 64), ("fc2.weight", 100, 300), ("fc3.weight", 10, 100))


def study(replicates: int, sparsities: int) -> Study:
    """A study with 22 trials per sparsity and replicate, of which the dense network's is one."""
    return Study(
        name="large",
        network="lenet-300-100",
        dataset="digits",
        methods=["random", "magnitude", "snip", "grasp", "synflow"],
        benchmarks=["magnitude-after-training", "lottery-rewinding"],
        ablations=["shuffle", "reinit", "invert"],
        sparsities=[round(0.5 + 0.49 * i / sparsities, 6) for i in range(sparsities)],
        replicates=replicates,
        recipe={"epochs": 2},
    )


def outcome(kind: str, density: float, draw: random.Random) -> Outcome:
    """Made-up numbers of the form that jobs return."""
    layers = [layer(name, units, width, density) for name, units, width in LAYERS]
    curve = {"step": [23, 46], "epoch": [1, 2], "train_loss": [1.0, 0.5], "test_loss": [1.0, 0.6]}
    match kind:
        case "mask":
            counts = {"kept": round(density * 50200), "total": 50200, "parameters": 50610, "unscored": 0, "left_out": 0}
            wiring = {"density": density, "effective_density": density, "layers": layers}
            result: dict[str, object] = {**counts, **wiring, "certificates": {}}
        case "score":
            result = {"layers": {name: [units, width] for name, units, width in LAYERS}}
        case _:
            accuracy = draw.uniform(0.1, 1)
            measured = {"test_accuracy": accuracy, "test_loss": draw.uniform(0, 2), "train_seconds": 2.0, "step": 46}
            learnt = {"curve": {**curve, "test_accuracy": [accuracy / 2, accuracy]}, "correct": "360:" + "/" * 60}
            result = {**measured, **learnt, "density": density, "engine": "dense", "certificates": {}}
    return Outcome(status="done", result=result, seconds=2.0, device="cpu", digest="0" * 64, size=1)


def layer(name: str, units: int, width: int, density: float) -> dict[str, object]:
    """What a mask keeps of a layer."""
    kept, few = round(density * units * width), round(density * width)
    by_inputs = {str(few): units // 2, str(few + 1): units - units // 2}
    counts = {"shape": [units, width], "kept": kept, "total": units * width, "effective": kept, "dead_units": 0}
    return {"name": name, **counts, "units_by_kept_inputs": by_inputs}


def fill(folder: Path, job_plan: Plan) -> None:
    """Record every job as done, a thousand at a time."""
    draw = random.Random(0)
    insert = f"INSERT INTO jobs ({names('jobs')}, hash) VALUES ({', '.join('?' * (len(COLUMNS['jobs']) + 1))})"
    with Store.writing(folder) as store:
        store.begin(job_plan)
        for start in range(0, len(job_plan.jobs), 1000):
            jobs = job_plan.jobs[start : start + 1000]
            rows = [job_row(job, outcome(job.kind, 1 - job.spec.get("sparsity", 0.5), draw)) for job in jobs]
            entries = ({"jobs": list(row)} for row in rows)
            with store._recorded(*entries) as db:  # pyright: ignore[reportPrivateUsage]
                db.executemany(insert, (sealed("jobs", row) for row in rows))


@contextlib.contextmanager
def measured(step: str) -> Iterator[None]:
    """Print the processor seconds of a step and the memory of this process."""
    began, clock = time.process_time(), time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([step, time.process_time() - began, time.perf_counter() - clock, peak]), flush=True)


def do(step: str, folder: Path, replicates: int, sparsities: int) -> None:
    """One step, in this process."""
    match step:
        case "plan":
            with measured(step):
                plan(study(replicates, sparsities))
        case "resume":
            from prunemark.study.schedule import pending

            job_plan = plan(study(replicates, sparsities))
            with measured(step), Store.writing(folder) as store:
                assert not pending(job_plan, store.finished(), store.has_artifact)
                store.begin(job_plan)
        case "verify":
            from prunemark.study.store.verify import verify

            with measured(step):
                verify(folder)
        case "report":
            from prunemark.study.reporting import report

            with measured(step):
                report(folder)
        case "export":
            from prunemark.study.exports import export

            with measured(step):
                export(folder)
        case _:
            from prunemark.study.exports import results

            with measured(step):
                results(folder, what="trials" if step == "results" else "layers")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, nargs="+", default=[4, 40, 400])
    parser.add_argument("--sparsities", type=int, nargs="+", default=[12])
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--keep", type=Path, help="make the folders here, or take those that are here")
    parser.add_argument("--do", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        do(options.do, options.keep, options.replicates[0], options.sparsities[0])
        return
    print(f"{'trials':>8}{'jobs':>9}{'cells':>7}  {'step':<9}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        for replicates in options.replicates:
            for sparsities in options.sparsities:
                job_plan = plan(study(replicates, sparsities))
                folder = (options.keep or Path(scratch)) / f"{replicates}x{sparsities}"
                if not Store.is_in(folder):
                    fill(folder, job_plan)
                cells = len(job_plan.trials) // replicates
                for step in options.steps:
                    command = [sys.executable, __file__, "--do", step, "--keep", str(folder)]
                    numbers = ["--replicates", str(replicates), "--sparsities", str(sparsities)]
                    done = subprocess.run([*command, *numbers], capture_output=True, text=True, check=True)
                    _, seconds, wall, peak = json.loads(done.stdout.splitlines()[-1])
                    size = f"{len(job_plan.trials):>8,}{len(job_plan.jobs):>9,}{cells:>7,}"
                    print(f"{size}  {step:<9}{seconds:>8.2f}{wall:>8.2f}{peak:>9.0f}", flush=True)
                files = {path.name: path.stat().st_size / 1e6 for path in folder.iterdir() if path.is_file()}
                sizes = ", ".join(f"{name} {size:,.1f} MB" for name, size in sorted(files.items()) if size > 0.1)
                print(f"{'':>26}{sizes}", flush=True)


if __name__ == "__main__":
    main()

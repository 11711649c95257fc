"""Cost of the shipped studies: training steps, and hours worked out from the measured time of a step.

    .venv/bin/python benchmarks/studies.py [--scale paper|laptop] [--device cpu|cuda]

The time of a training step of the dense network is measured on random images of the data set's shape (on a CPU with
one thread, and scaled up where a batch is larger than 2 million values); a study's hours are its cost in such steps
times that. So with `--device cuda` they are hours of that GPU.

The last two columns are hours of GPUs that need not be at hand. They start from a step that NVIDIA measured on them,
ResNet-50 v1.5 on ImageNet with PyTorch, and take other networks' steps to be faster or slower as their arithmetic is
(three times the multiply-adds of a forward pass for each example): too fast for small networks, whose steps are mostly
starting kernels. Masked networks train in dense arithmetic.
"""

import argparse
import platform

import torch

import prunemark as pm
from prunemark.study.files import studies
from prunemark.study.plan import plan
from prunemark.study.preflight import stand_in, time_step
from prunemark.study.spec import Study

# Training images per second of ResNet-50, one GPU: NVIDIA/DeepLearningExamples, README of
# PyTorch/Classification/ConvNets/resnet50v1.5, pytorch-21.03; V100 32 GB in float32, A100 80 GB in TF32.
IMAGES_PER_SECOND = {"V100": 356, "A100": 938}


def operations_per_example(study: Study) -> float:
    """Floating-point operations of one training step for one example."""
    entry = study.data
    model = pm.network(study.network, input_shape=entry.input_shape, classes=entry.classes, **study.network_options)
    masks = pm.prune(model, "random", sparsity=0, input_shape=entry.input_shape)
    return 3 * 2 * (pm.topology(model, masks, input_shape=entry.input_shape).flops_dense or 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="paper", choices=("paper", "laptop"))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(f"{platform.machine()}, torch {torch.__version__}, {options.device}, one thread")
    gpus = "".join(f"{f'{gpu} hours':>13}" for gpu in IMAGES_PER_SECOND)
    print(f"{'study':<38}{'trials':>8}{'steps':>13}{'ms per step':>12}{'hours':>13}{gpus}")
    reference = operations_per_example(Study.load("paper/resnet-50"))
    measured: dict[tuple[str, str], tuple[float, float]] = {}
    for name in studies():
        if not name.startswith(f"{options.scale}/"):
            continue
        study = Study.load(name)
        setting = study.network, study.dataset
        if setting not in measured:
            step = time_step(study, stand_in(study), device=options.device, enough_s=3.0)
            measured[setting] = step, operations_per_example(study)
        step_seconds, operations = measured[setting]
        job_plan = plan(study)
        hours = sum(job.cost for job in job_plan.jobs) * step_seconds / 3600
        images = job_plan.steps * study.full_recipe.batch_size * operations / reference
        gpus = "".join(f"{images / rate / 3600:>13,.1f}" for rate in IMAGES_PER_SECOND.values())
        size = f"{len(job_plan.trials):>8,}{job_plan.steps:>13,}"
        print(f"{name:<38}{size}{1000 * step_seconds:>12,.1f}{hours:>13,.1f}{gpus}", flush=True)


if __name__ == "__main__":
    main()

#!/bin/bash
#SBATCH --job-name=prunemark
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
# Runs a study on all nodes of a Slurm allocation:
#
#     sbatch --nodes 4 --cpus-per-task 16 --time 12:00:00 tools/slurm-ray.sh STUDY.toml /shared/results [OPTIONS OF prunemark run]
#
# The environment that is active when the job is submitted must be on a file system that all nodes share.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: sbatch [OPTIONS] $0 STUDY.toml FOLDER [OPTIONS OF prunemark run]" >&2
    exit 2
fi
study=$1 folder=$2
shift 2

nodes=("$(hostname)")
if command -v scontrol > /dev/null && [ -n "${SLURM_JOB_NODELIST:-}" ]; then
    mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
fi
head=${nodes[0]}
ip=${RAY_HEAD_IP:-$(srun --overlap --nodes 1 --ntasks 1 --nodelist "$head" hostname --ip-address | awk '{print $1}')}
# Two jobs of one user may share the first node.
port=${RAY_HEAD_PORT:-$((20000 + ${SLURM_JOB_ID:-0} % 10000))}
cores=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
export RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1

here=()
on() {
    # Run a command on a node for as long as the job lasts; on this machine where there is no Slurm.
    local node=$1
    shift
    if command -v srun > /dev/null; then
        srun --overlap --nodes 1 --ntasks 1 --cpus-per-task "$cores" --nodelist "$node" "$@" &
    else
        "$@" &
    fi
    here+=($!)
}
finish() { [ ${#here[@]} = 0 ] || kill "${here[@]}" 2> /dev/null || true; }
trap finish EXIT

on "$head" ray start --head --block --node-ip-address "$ip" --port "$port" --num-cpus "$cores" --num-gpus "$gpus" \
    --include-dashboard false --disable-usage-stats
for _ in $(seq 60); do
    ray health-check --address "$ip:$port" > /dev/null 2>&1 && break
    sleep 1
done
for node in "${nodes[@]:1}"; do
    on "$node" ray start --block --address "$ip:$port" --num-cpus "$cores" --num-gpus "$gpus" --disable-usage-stats
done
python - "$ip:$port" "${#nodes[@]}" << 'PYTHON'
import sys
import time

import ray

address, expected = sys.argv[1], int(sys.argv[2])
ray.init(address=address, log_to_driver=False, logging_level="ERROR")
for _ in range(120):
    there = sum(node["Alive"] for node in ray.nodes())
    if there >= expected:
        break
    time.sleep(1)
print(f"{there} of {expected} nodes have joined", flush=True)
PYTHON

prunemark run "$study" --out "$folder" --executor ray --address "$ip:$port" "$@"

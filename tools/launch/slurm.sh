#!/usr/bin/env bash
# cgt-train on several machines of a Slurm cluster, one worker a machine.
#
#   sbatch --nodes=2 --gpus-per-node=4 tools/launch/slurm.sh --flagfile=configs/photos_transfer.flags \
#     --config.data.train=/shared/photos --workdir=/shared/runs/photos
#
# The workdir must be on a file system that all machines share; data.cache_dir may be local. Slurm
# sends SIGTERM before a job's time is over (--signal=TERM@120): all workers then save the same step
# and end, and the same command goes on from there, which --requeue does by itself.
#SBATCH --job-name=cgt-train
#SBATCH --ntasks-per-node=1
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

port="${CGT_PORT:-23456}"
workers="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd,)"
export CGT_WORKERS="$workers"

# Single quotes: each task puts its own number in.
srun --kill-on-bad-exit=1 bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": [$CGT_WORKERS]},
    \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec cgt-train --config.training.strategy=multi_worker "$@"' cgt-train "$@"

#!/bin/bash
# One sweep in one allocation: Ray's head on the first node, workers on the others, the driver beside the head.
#
#   sbatch deploy/slurm/sweep.sh sweeps/table1.yaml
#
# from the checkout, which all nodes see, as they see the home directory with the token. Options of sbatch go before the
# script's name and win over the lines below; lines with EDIT are yours. Nodes must be yours alone: Ray listens on all
# interfaces. Ten minutes before the time limit Slurm tells this script to end: the sweep writes checkpoints and ends,
# and the job goes back into the queue, to go on from them.
#SBATCH --job-name=dfm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=dfm-%j.log
set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
# shellcheck source=/dev/null
source "${DFM_VENV:-.venv}/bin/activate"
export RAY_AUTH_MODE=token
export DFM_STORAGE_ROOT="${DFM_STORAGE_ROOT:-$PWD/runs}" # EDIT: a place that all nodes see
python -m orchestration.auth_token

told=no driver="" # the driver's process, once there is one
# shellcheck disable=SC2329
end() {
  told=yes
  if [[ -n $driver ]]; then kill -TERM "$driver" 2>/dev/null || true; fi
}
trap end TERM
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS="$head:${DFM_RAY_PORT:-6379}"
step=(srun --overlap --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0)
ray=(--num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block)
"${step[@]}" --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --port="${RAY_ADDRESS##*:}" --dashboard-host=127.0.0.1 "${ray[@]}" &
for _ in $(seq 60); do
  if ray health-check --address "$RAY_ADDRESS" 2>/dev/null || [[ $told == yes ]]; then break; fi
  sleep 2
done
if ((SLURM_JOB_NUM_NODES > 1)); then
  others=$((SLURM_JOB_NUM_NODES - 1))
  "${step[@]}" --nodes="$others" --ntasks="$others" --exclude="$head" \
    ray start --address="$RAY_ADDRESS" "${ray[@]}" &
fi
python deploy/slurm/wait_for_nodes.py "$SLURM_JOB_NUM_NODES"

code=0
if [[ $told == no ]]; then
  python orchestration/sweep.py "$@" &
  driver=$!
  # A signal ends `wait`, not the driver, which first writes its checkpoints.
  while kill -0 "$driver" 2>/dev/null; do wait "$driver" && code=0 || code=$?; done
fi
if [[ $told == yes ]]; then
  echo "Told to end: the job goes back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

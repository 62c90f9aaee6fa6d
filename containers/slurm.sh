#!/bin/bash
# A command of mer on GPUs of several nodes, one Dask worker a GPU:
#   sbatch containers/slurm.sh preprocess /data/CASME2 --out casme2.zarr
#   sbatch containers/slurm.sh train --store casme2.zarr --out run
# Killed or out of time, submit the same line again: it goes on.
# MER_IMAGE=mer.sif takes mer from an Apptainer image; without it mer's environment has to be active.
# On CPU nodes take the line of GPUs out: every task is then a worker of one thread.
#SBATCH --job-name=mer
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
set -euo pipefail

inside=()
if [ -n "${MER_IMAGE:-}" ]; then
  inside=(apptainer exec --nv "$MER_IMAGE")
fi

# Whoever reaches the ports of a Dask cluster can run code there, so that it answers only to keys of this job.
keys=$(mktemp -d "$PWD/.mer-$SLURM_JOB_ID-XXXXXX") # in a folder that all nodes see
scheduler='' workers=''
finish() {
  for process in $workers $scheduler; do # in this order: workers that lose their scheduler complain at length
    kill "$process" 2>/dev/null && wait "$process" || true
  done
  rm -r "$keys"
}
trap finish EXIT
(
  umask 077
  openssl req -x509 -newkey rsa:3072 -noenc -days 30 -subj "/CN=mer-$SLURM_JOB_ID" \
    -keyout "$keys/key.pem" -out "$keys/cert.pem" 2>/dev/null
)
tls=(--tls-ca-file "$keys/cert.pem" --tls-cert "$keys/cert.pem" --tls-key "$keys/key.pem")
port=$((20000 + SLURM_JOB_ID % 20000))
address="tls://$(hostname):$port"

"${inside[@]}" dask scheduler --protocol tls --port "$port" --no-dashboard "${tls[@]}" &
scheduler=$!
worker=(--nthreads 1)
if [ -n "${SLURM_GPUS_PER_TASK:-}" ]; then
  worker=(--nthreads 4 --resources "GPU=1") # clips are decoded and compressed beside the one that is on the GPU
fi
srun "${inside[@]}" dask worker "$address" "${tls[@]}" --nworkers 1 "${worker[@]}" \
  --local-directory "${TMPDIR:-/tmp}" --no-dashboard &
workers=$!

"${inside[@]}" python - "$address" "$keys" "$SLURM_NTASKS" <<'END'
import sys

from distributed import Client, Security

address, keys, tasks = sys.argv[1:]
certificate, key = f"{keys}/cert.pem", f"{keys}/key.pem"
security = Security(tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)
with Client(address, security=security, timeout=120) as client:
    client.wait_for_workers(int(tasks), timeout=600)
END

"${inside[@]}" mer "$@" --scheduler "$address" \
  --tls-ca "$keys/cert.pem" --tls-cert "$keys/cert.pem" --tls-key "$keys/key.pem"

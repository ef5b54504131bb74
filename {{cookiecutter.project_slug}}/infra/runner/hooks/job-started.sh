#!/usr/bin/env bash
# Runs before every job, as its user. It clears leftovers; if the machine cannot do the job, it fails with one line.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

timeout --verbose --kill-after=5 60 "$here"/foreign-files.sh
timeout --verbose --kill-after=5 20 "$here"/dvc-locks.sh || echo "::warning::runner: DVC's locks could not be looked at"
timeout --verbose --kill-after=5 60 "$here"/gpu-orphans.sh || echo "::warning::runner: the GPU's processes could not be looked at"
timeout --verbose --kill-after=5 20 "$here"/disk-room.sh

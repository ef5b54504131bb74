#!/usr/bin/env bash
# Runs after every job, as its user. The job is over, so nothing here may make it fail.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

timeout --verbose --kill-after=5 60 "$here"/gpu-orphans.sh || echo "::warning::runner: the GPU's processes could not be looked at"
timeout --verbose --kill-after=5 60 "$here"/foreign-files.sh || echo "::warning::runner: files of another user stay in _work"
exit 0

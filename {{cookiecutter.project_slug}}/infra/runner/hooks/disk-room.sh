#!/usr/bin/env bash
# Fails a job before it starts if its disk is nearly full, rather than after an hour of training that cannot be saved.
set -euo pipefail
need=${RUNNER_MIN_FREE_GB:-20}
free=$(df --block-size=1G --output=avail "${RUNNER_WORKSPACE:?is set by the runner}" | tail -n 1 | tr -d ' ')
((free >= need)) || {
  echo "::error::runner: $free GB free on $(hostname), $need GB needed: free some, or lower RUNNER_MIN_FREE_GB in runner.env"
  exit 1
}

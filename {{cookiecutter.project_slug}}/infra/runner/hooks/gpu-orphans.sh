#!/usr/bin/env bash
# Ends processes that an earlier job left on this runner's GPU: those of this user that no listener has started.
set -euo pipefail
gpu=${CUDA_VISIBLE_DEVICES:-}
[[ -n $gpu ]] && command -v nvidia-smi >/dev/null || exit 0

of_a_listener() { # follows the parents of process $1; a process that ends meanwhile needs no kill
  local pid=$1
  while [[ $pid -gt 1 ]]; do
    [[ $(cat "/proc/$pid/comm" 2>/dev/null || echo Runner.Listener) == Runner.Listener ]] && return 0
    pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || return 0
  done
  return 1
}

nvidia-smi --id="$gpu" --query-compute-apps=pid --format=csv,noheader,nounits | tr -d ' ' | while read -r pid; do
  [[ $pid =~ ^[0-9]+$ && $(stat -c %u "/proc/$pid" 2>/dev/null) == "$(id -u)" ]] || continue
  of_a_listener "$pid" && continue
  echo "runner: ending process $pid, left on GPU $gpu: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80)"
  kill "$pid" && timeout 5 tail --pid="$pid" -s 0.1 -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
done

#!/usr/bin/env bash
# Runs around every job, as its user: `hooks.sh started` before it, `hooks.sh completed` after it. The runner calls a hook
# without arguments, so install.sh links it as job-started.sh and job-completed.sh. Each check is a process of its own, with
# a limit of time: `hooks.sh CHECK`.
set -euo pipefail
program=$(readlink -f "$0")

disk_room() { # fails a job before it starts if its disk is nearly full, rather than after an hour that cannot be saved
  local need=${RUNNER_MIN_FREE_GB:-20} free
  free=$(df --block-size=1G --output=avail "${RUNNER_WORKSPACE:?is set by the runner}" | tail -n 1 | tr -d ' ')
  ((free >= need)) || {
    echo "::error::runner: $free GB free on $(hostname), $need GB needed: free some, or lower RUNNER_MIN_FREE_GB in runner.env"
    exit 1
  }
}

foreign_files() { # removes files of other users from _work (containers write as root): the next checkout would fail on them
  local work left
  work=$(dirname "${RUNNER_WORKSPACE:?is set by the runner}")
  foreign() { find "$work" -xdev -path "$work/_tool" -prune -o ! -user "$(id -u)" -prune "$@"; } # _tool may belong to the host
  # A failed removal is no error yet: the next lines fail on the files that are left.
  foreign -exec rm -rf -- {} + 2>/dev/null || true
  left=$(foreign -print -quit)
  [[ -z $left ]] || { echo "::error::runner: $left is another user's and cannot be removed: delete it as root"; exit 1; }
}

dvc_locks() { # removes the locks of a killed DVC; if a DVC still runs in the same checkout, its locks stay
  local checkout=${GITHUB_WORKSPACE:?is set by the runner} tmp pid
  [[ -d $checkout ]] || exit 0
  find "$(readlink -f "$checkout")" -maxdepth 4 -type d -path '*/.dvc/tmp' | while read -r tmp; do
    pid=$(dvc_at_work "${tmp%/.dvc/tmp}")
    if [[ -n $pid ]]; then
      echo "runner: DVC is at work (process $pid), its locks stay"
    else
      rm -fv "$tmp"/{lock,rwlock,rwlock.lock}
    fi
  done
}

dvc_at_work() { # prints the first process in folder $1 that is DVC or is named in its lock
  local process words
  for process in /proc/[0-9]*; do
    [[ $(readlink "$process/cwd" 2>/dev/null)/ == "$1"/* ]] || continue
    words=$(tr '\0' '\n' 2>/dev/null <"$process/cmdline") || continue
    if grep -qE '^(.*/)?dvc$' <<<"$words" || grep -qsE "\"pid\": ${process#/proc/}[,}]" "$1/.dvc/tmp/rwlock"; then
      echo "${process#/proc/}"
      return
    fi
  done
}

gpu_orphans() { # ends what an earlier job left on this runner's GPU: processes of this user that no listener has started
  local gpu=${CUDA_VISIBLE_DEVICES:-} pid
  [[ -n $gpu ]] && command -v nvidia-smi >/dev/null || exit 0
  nvidia-smi --id="$gpu" --query-compute-apps=pid --format=csv,noheader,nounits | tr -d ' ' | while read -r pid; do
    [[ $pid =~ ^[0-9]+$ && $(stat -c %u "/proc/$pid" 2>/dev/null) == "$(id -u)" ]] || continue
    of_a_listener "$pid" && continue
    echo "runner: ending process $pid, left on GPU $gpu: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80)"
    kill "$pid" && timeout 5 tail --pid="$pid" -s 0.1 -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
  done
}

of_a_listener() { # follows the parents of process $1; a process that ends meanwhile needs no kill
  local pid=$1
  while [[ $pid -gt 1 ]]; do
    [[ $(cat "/proc/$pid/comm" 2>/dev/null || echo Runner.Listener) == Runner.Listener ]] && return 0
    pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || return 0
  done
  return 1
}

started() { # clears leftovers; if the machine cannot do the job, it fails with one line
  timeout --verbose --kill-after=5 60 "$program" foreign_files
  timeout --verbose --kill-after=5 20 "$program" dvc_locks || echo "::warning::runner: DVC's locks could not be looked at"
  timeout --verbose --kill-after=5 60 "$program" gpu_orphans || echo "::warning::runner: the GPU's processes could not be looked at"
  timeout --verbose --kill-after=5 20 "$program" disk_room
}

completed() { # the job is over, so nothing here may make it fail
  timeout --verbose --kill-after=5 60 "$program" gpu_orphans || echo "::warning::runner: the GPU's processes could not be looked at"
  timeout --verbose --kill-after=5 60 "$program" foreign_files || echo "::warning::runner: files of another user stay in _work"
}

name=$(basename "$0" .sh)
case ${1:-${name#job-}} in
  started | completed | disk_room | foreign_files | dvc_locks | gpu_orphans) "${1:-${name#job-}}" ;;
  *) echo "usage: hooks.sh started|completed|disk_room|foreign_files|dvc_locks|gpu_orphans" >&2; exit 2 ;;
esac

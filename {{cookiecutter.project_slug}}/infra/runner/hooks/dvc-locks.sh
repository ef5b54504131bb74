#!/usr/bin/env bash
# Removes the locks of a killed DVC. If a DVC still runs in the same checkout, its locks stay.
set -euo pipefail
checkout=${GITHUB_WORKSPACE:?is set by the runner}
[[ -d $checkout ]] || exit 0

at_work() { # prints the first process in folder $1 that is DVC or is named in its lock
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

find "$(readlink -f "$checkout")" -maxdepth 4 -type d -path '*/.dvc/tmp' | while read -r tmp; do
  pid=$(at_work "${tmp%/.dvc/tmp}")
  if [[ -n $pid ]]; then
    echo "runner: DVC is at work (process $pid), its locks stay"
  else
    rm -fv "$tmp"/{lock,rwlock,rwlock.lock}
  fi
done

#!/usr/bin/env bash
# What the service does around a job, as root. Usage: service.sh prepare FOLDER; service.sh stopped FILE
set -euo pipefail

prepare() { # empties the folder of the last job: containers leave files of root there, which block the next checkout
  local folder=${1:?the folder of one runner}
  find "$folder" -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf --one-file-system -- {} +
  mkdir -p "$folder"/{bin,externals,home,cache} # bin and externals are mounted over, read-only
  chown --no-dereference --reference="$folder" "$folder"/{bin,externals,home,cache}
}

stopped() { # deletes the job's registration; if the listener ended because GitHub requires a newer runner, updates now
  rm -f "${1:?the registration}"
  case ${EXIT_STATUS:-0} in # of systemd
    3 | 4 | 7) systemctl start --no-block actions-runner-update.service ;; # updating, updating (one job), too old
  esac
}

case ${1:-} in
  prepare | stopped) "$@" ;;
  *) echo "usage: service.sh prepare FOLDER, or service.sh stopped FILE" >&2; exit 2 ;;
esac

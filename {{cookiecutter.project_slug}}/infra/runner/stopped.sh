#!/usr/bin/env bash
# After a job: delete its registration; if the listener ended because GitHub requires a newer runner, update now.
# Usage: stopped.sh FILE, with systemd's EXIT_STATUS
set -euo pipefail
rm -f "${1:?the registration}"
case ${EXIT_STATUS:-0} in
  3 | 4 | 7) systemctl start --no-block actions-runner-update.service ;; # updating, updating (one job), too old
esac

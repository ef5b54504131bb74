#!/usr/bin/env bash
# Installs the kit on this machine; run it again after an update of the kit. Usage: sudo ./install.sh
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=${DESTDIR:-}

for tool in curl jq openssl git make tar; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install curl jq openssl git make tar" >&2; exit 1; }
done

install -d "$root"/usr/local/lib/actions-runner "$root"/etc/systemd/system "$root"/opt/actions-runner
install -d -m 700 "$root"/etc/actions-runner
install -m 755 "$here"/{hooks,register,service}.sh "$root"/usr/local/lib/actions-runner
ln -sfn hooks.sh "$root"/usr/local/lib/actions-runner/job-started.sh
ln -sfn hooks.sh "$root"/usr/local/lib/actions-runner/job-completed.sh
install -m 644 "$here"/*.{service,slice,timer} "$root"/etc/systemd/system
[[ -e $root/etc/actions-runner/runner.env ]] || install -m 600 "$here"/runner.env "$root"/etc/actions-runner

if [[ -z $root ]]; then
  id actions-runner >/dev/null 2>&1 || useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin actions-runner
  systemctl daemon-reload
  systemctl enable --now actions-runner-update.timer
  systemctl start actions-runner-update.service
fi

#!/usr/bin/env bash
# What the services do as root, around a job and every week.
# Usage: service.sh prepare FOLDER; service.sh stopped FILE; service.sh update
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

update() { # installs the newest runner beside the old one and switches to it; busy runners keep the old one until their job ends
  root=${RUNNER_ROOT:-/opt/actions-runner}
  latest=${RUNNER_RELEASE:-https://api.github.com/repos/actions/runner/releases/latest}
  case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac

  release=$(curl --silent --show-error --fail --location --max-time 30 "$latest")
  version=$(jq -er '.tag_name | ltrimstr("v")' <<<"$release")
  asset=$(jq -ec --arg name "actions-runner-linux-$arch-$version.tar.gz" '.assets[] | select(.name == $name)' <<<"$release")
  if [[ ! -d $root/$version ]]; then
    new=$(mktemp -d "$root/.new.XXXXXX")
    trap 'rm -rf "$new" "$new.tar.gz"' EXIT
    curl --silent --show-error --fail --location --max-time 600 --output "$new.tar.gz" "$(jq -er .browser_download_url <<<"$asset")"
    sha256sum --check --quiet <<<"$(jq -er '.digest | ltrimstr("sha256:")' <<<"$asset")  $new.tar.gz"
    tar -xzf "$new.tar.gz" -C "$new" --no-same-owner
    chmod 755 "$new" && touch "$new" # its age, used below, counts from now
    mv "$new" "$root/$version"
  fi
  ln -sfn "$version" "$root/.current" && mv -T "$root/.current" "$root/current" # one rename is atomic
  echo "runner $version"

  # An idle listener has no Runner.Worker: restart it on the new version. A busy one is replaced after its job.
  systemctl list-units --plain --no-legend --state=running 'actions-runner@*.service' | while read -r unit _; do
    group=${RUNNER_CGROUPS:-/sys/fs/cgroup}$(systemctl show --property ControlGroup --value "$unit")
    names=$(xargs -rI{} cat /proc/{}/comm <"$group/cgroup.procs" 2>/dev/null || true)
    if [[ $names == *Runner.Listener* && $names != *Runner.Worker* ]]; then systemctl restart "$unit"; fi
  done

  # The previous version stays: a job may still run from it.
  find "$root" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n +3 | cut -d ' ' -f 2- | xargs -r rm -rf --
}

case ${1:-} in
  prepare | stopped | update) "$@" ;;
  *) echo "usage: service.sh prepare FOLDER, service.sh stopped FILE, or service.sh update" >&2; exit 2 ;;
esac

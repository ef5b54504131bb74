#!/usr/bin/env bash
# Removes from _work what another user owns (containers write as root): the next checkout would die on it.
set -euo pipefail
work=$(dirname "${RUNNER_WORKSPACE:?is set by the runner}")

foreign() { find "$work" -xdev -path "$work/_tool" -prune -o ! -user "$(id -u)" -prune "$@"; } # _tool may be the host's

# What cannot be removed is no failure yet: the next lines look at what is left, and fail on it.
foreign -exec rm -rf -- {} + 2>/dev/null || true
left=$(foreign -print -quit)
[[ -z $left ]] || { echo "::error::runner: $left is another user's and cannot be removed: delete it as root"; exit 1; }

#!/usr/bin/env bash
# Removes files of other users from _work (containers write as root): the next checkout would fail on them.
set -euo pipefail
work=$(dirname "${RUNNER_WORKSPACE:?is set by the runner}")

foreign() { find "$work" -xdev -path "$work/_tool" -prune -o ! -user "$(id -u)" -prune "$@"; } # _tool may belong to the host

# A failed removal is no error yet: the next lines fail on the files that are left.
foreign -exec rm -rf -- {} + 2>/dev/null || true
left=$(foreign -print -quit)
[[ -z $left ]] || { echo "::error::runner: $left is another user's and cannot be removed: delete it as root"; exit 1; }

#!/usr/bin/env bash
# Empties the folder of the last job, as root: containers leave files of root there, which block the next checkout.
# Usage: prepare.sh FOLDER
set -euo pipefail
folder=${1:?the folder of one runner}

find "$folder" -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf --one-file-system -- {} +
mkdir -p "$folder"/{bin,externals,home,cache} # bin and externals are mounted over, read-only
chown --no-dereference --reference="$folder" "$folder"/{bin,externals,home,cache}

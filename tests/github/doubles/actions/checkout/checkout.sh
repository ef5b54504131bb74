#!/usr/bin/env bash
# What actions/checkout does, in git: which refs it fetches, what it leaves checked out, where it leaves the token.
set -euo pipefail

# A runner's workspace has the same path in each of its jobs, where act invents one, and is emptied for each.
if [ -n "${STANDIN_WORKSPACE:-}" ] && [ "$FOLDER" = . ] && [ ! -L "$GITHUB_WORKSPACE" ]; then
    rm -rf "$STANDIN_WORKSPACE"
    mkdir -p "$STANDIN_WORKSPACE"
    rmdir "$GITHUB_WORKSPACE"
    ln -s "$STANDIN_WORKSPACE" "$GITHUB_WORKSPACE"
    cd "$GITHUB_WORKSPACE"
fi
mkdir -p "$FOLDER"
cd "$FOLDER"
git init -q .
git remote add origin "$GITHUB_SERVER_URL/$REPOSITORY"
header="http.$GITHUB_SERVER_URL/.extraheader"
git config "$header" "AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w0)"

commit=""
if [ -z "$REF" ] && [ "$REPOSITORY" = "$GITHUB_REPOSITORY" ]; then
    REF=$GITHUB_REF commit=$GITHUB_SHA
elif [[ $REF =~ ^[0-9a-f]{40}$ ]]; then
    commit=$REF REF=""
elif [ -n "$REF" ] && [[ $REF != refs/* ]]; then
    REF=refs/heads/$REF
fi

case $REF in
refs/heads/*) tracking=refs/remotes/origin/${REF#refs/heads/} ;;
refs/pull/*) tracking=refs/remotes/pull/${REF#refs/pull/} ;;
*) tracking=$REF ;;
esac

# One commit into its tracking ref; a bare commit id has none.
wanted=${commit:-${REF:-HEAD}}${tracking:+:$tracking}
fetch=(git -c protocol.version=2 fetch -q --no-recurse-submodules)
if [ "$DEPTH" = 0 ]; then
    "${fetch[@]}" --tags origin '+refs/heads/*:refs/remotes/origin/*'
    "${fetch[@]}" --no-tags origin "+$wanted"
else
    "${fetch[@]}" --no-tags --depth="$DEPTH" origin "+$wanted"
fi

case $REF in
refs/heads/*) git checkout -q --force -B "${REF#refs/heads/}" "$tracking" ;;
"") git checkout -q --force --detach "${commit:-FETCH_HEAD}" ;;
*) git checkout -q --force --detach "$tracking" ;;
esac

[ "$PERSIST" = true ] || git config --unset-all "$header"
echo "commit=$(git rev-parse HEAD)" >>"$GITHUB_OUTPUT"
git log -1 --format='%H %s'

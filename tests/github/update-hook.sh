#!/bin/sh
# What GitHub refuses on a push, per ref. The server says in the environment who pushes: STANDIN_PROTECTED (branch names),
# STANDIN_BYPASS=1 (may push to protected branches), STANDIN_WORKFLOWS=1 (may change workflow files), STANDIN_SIGNED (names
# of branches that take signed commits alone).
ref=$1 old=$2 new=$3
branch=${ref#refs/heads/}
zero=0000000000000000000000000000000000000000
for protected in $STANDIN_PROTECTED; do
    [ "$branch" = "$protected" ] || continue
    if [ "$old" != $zero ] && [ "$new" != $zero ] && ! git merge-base --is-ancestor "$old" "$new"; then
        echo "error: GH006: Protected branch update failed for $ref." >&2
        echo "error: Cannot force-push to this branch" >&2
        exit 1
    fi
    [ "$STANDIN_BYPASS" = 1 ] && continue
    echo "error: GH006: Protected branch update failed for $ref." >&2
    echo "error: Changes must be made through a pull request." >&2
    exit 1
done
for signed in $STANDIN_SIGNED; do
    [ "$branch" = "$signed" ] && [ "$new" != $zero ] || continue
    for commit in $(git rev-list "$new" --not --all); do
        git cat-file commit "$commit" | grep -q '^gpgsig ' && continue
        echo "error: GH013: Repository rule violations found for $ref." >&2
        echo "error: Commits must have verified signatures." >&2
        exit 1
    done
done
if [ "$STANDIN_WORKFLOWS" != 1 ] && [ "$new" != $zero ]; then
    # An update is compared with what the branch held, whoever wrote the change; a new branch only with what is known.
    if [ "$old" != $zero ]; then
        changed=$(git diff --name-only "$old" "$new" -- .github/workflows | head -n 1)
    else
        changed=$(git log --format= --name-only "$new" --not --all -- .github/workflows | head -n 1)
    fi
    if [ -n "$changed" ]; then
        echo "refusing to allow a GitHub App to create or update workflow \`$changed\` without \`workflows\` permission" >&2
        exit 1
    fi
fi
exit 0

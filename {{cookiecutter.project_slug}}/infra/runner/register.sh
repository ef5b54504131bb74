#!/usr/bin/env bash
# Registers a runner for one job and writes the registration to a file that only root (and systemd) can read.
# Usage: register.sh GPU FILE. Settings: runner.env. Secrets are read from files and passed by pipe, never by argument or log.
set -euo pipefail
umask 077
gpu=${1:?the number of the GPU} file=${2:?where the registration goes}
secrets=${RUNNER_SECRETS:-/etc/actions-runner}
api=${GITHUB_API:-https://api.github.com}

fail() { echo "actions-runner@$gpu: $1" >&2; exit 1; }

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

app_jwt() { # valid for at most ten minutes; a start one minute ago allows for a clock that is off
  local now unsigned
  now=$(date +%s)
  unsigned=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url).$(
    printf '{"iat":%d,"exp":%d,"iss":"%s"}' $((now - 60)) $((now + 300)) "$GITHUB_APP_ID" | base64url)
  printf '%s.%s' "$unsigned" "$(printf %s "$unsigned" | openssl dgst -sha256 -sign "$secrets/app.pem" -binary | base64url)"
}

post() { # post TOKEN PATH BODY
  curl --silent --show-error --fail --max-time 30 --header @<(printf 'Authorization: Bearer %s' "$1") \
    --header 'Accept: application/vnd.github+json' --data "$3" "$api/$2"
}

if [[ -n ${GITHUB_APP_ID:-} ]]; then
  [[ -r $secrets/app.pem ]] || fail "$secrets/app.pem is missing: put the GitHub App's private key there"
  token=$(post "$(app_jwt)" "app/installations/$GITHUB_APP_INSTALLATION/access_tokens" '{}' | jq -er .token) ||
    fail "GitHub refused the App: check GITHUB_APP_ID, GITHUB_APP_INSTALLATION and app.pem"
else
  [[ -s $secrets/token ]] || fail "$secrets/token is missing: put a fine-grained token there (README.md, step 3)"
  token=$(<"$secrets/token")
fi

: "${RUNNER_SCOPE:?is not set in runner.env: OWNER/REPO or ORG}"
[[ $RUNNER_SCOPE == */* ]] && scope=repos/$RUNNER_SCOPE || scope=orgs/$RUNNER_SCOPE
host=${HOSTNAME%%.*} # a runner's name has 64 characters at most
body=$(jq -nc --arg name "${host:0:40}-gpu$gpu-$(date +%s)" --arg labels "$RUNNER_LABELS" --argjson group "${RUNNER_GROUP_ID:-1}" \
  '{name: $name, runner_group_id: $group, labels: ($labels | split(",")), work_folder: "_work"}')
jit=$(post "$token" "$scope/actions/runners/generate-jitconfig" "$body" | jq -er .encoded_jit_config) ||
  fail "GitHub registered no runner for $RUNNER_SCOPE: the credential needs Administration (repository) or Self-hosted runners (organisation), read and write"
printf 'ACTIONS_RUNNER_INPUT_JITCONFIG=%s\n' "$jit" >"$file"

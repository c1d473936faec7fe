#!/usr/bin/env bash
# Lets a synthetic event into a stack, then waits until health - which sends one
# of its own each minute - reports that it came out: searchable and counted.
# Usage: smoke.sh --stage STAGE | --stack NAME | --urls COLLECT_URL HEALTH_URL
# Environment: WRITE_KEY and READ_KEY where the stack has keys (else the request
# for the state is signed with AWS credentials, if there are any), SMOKE_SECONDS
# to wait at the most (420), SMOKE_INTERVAL between two looks (10).
# Ends with 0 if it came out, else with 1 and what was seen last.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
patience=${SMOKE_SECONDS:-420} interval=${SMOKE_INTERVAL:-10}
usage() { echo "usage: smoke.sh --stage STAGE | --stack NAME | --urls COLLECT_URL HEALTH_URL" >&2; exit 2; }
output() {
  aws cloudformation describe-stacks --stack-name "$stack" --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue | [0]" --output text
}
case ${1:-} in
  --stage)
    [ $# -eq 2 ] || usage
    stack=$(python3 -c 'import sys, tomllib; print(tomllib.load(open("samconfig.toml", "rb"))[sys.argv[1]]["deploy"]["parameters"]["stack_name"])' "$2")
    collect=$(output CollectUrl) health=$(output HealthUrl) ;;
  --stack) [ $# -eq 2 ] || usage; stack=$2; collect=$(output CollectUrl) health=$(output HealthUrl) ;;
  --urls) [ $# -eq 3 ] || usage; collect=$2 health=$3 ;;
  *) usage ;;
esac

# Keys go to curl by its standard input: arguments can be read by others.
keys() {
  if [ -n "${READ_KEY:-}" ]; then
    printf 'header = "X-Read-Key: %s"\n' "$READ_KEY"
  elif [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
    printf 'aws-sigv4 = "aws:amz:%s:execute-api"\nuser = "%s:%s"\n' "${AWS_REGION:-${AWS_DEFAULT_REGION:-us-east-1}}" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
    [ -z "${AWS_SESSION_TOKEN:-}" ] || printf 'header = "X-Amz-Security-Token: %s"\n' "$AWS_SESSION_TOKEN"
  fi
}

# To the millisecond, as health's report.
started=$(date -u +%FT%T.%3NZ)
event=$(printf '{"user_id":"freshet-probe","session_id":"smoke","event_type":"page_view","page_url":"https://smoke.invalid/","timestamp":"%s","event_id":"smoke-%s","synthetic":true}' "$started" "$(date +%s%N)")
answer=$({ [ -z "${WRITE_KEY:-}" ] || printf 'header = "X-Write-Key: %s"\n' "$WRITE_KEY"; } |
  curl --silent --show-error --max-time 30 --retry 3 --config - -H 'content-type: application/json' --data "$event" "$collect") || { echo "smoke test: no answer from $collect" >&2; exit 1; }
if [ "$(jq -r '.results[0].status?' <<<"$answer" 2>/dev/null)" != ok ]; then
  echo "smoke test: the event was not taken: $answer" >&2; exit 1
fi
echo "an event was taken; waiting for health"

state= deadline=$((SECONDS + patience))
while [ $SECONDS -lt $deadline ]; do
  sleep "$interval"
  state=$(keys | curl --silent --show-error --max-time 30 --config - "$health") || continue
  # Of before, the report may be about what has just been replaced.
  if jq -e --arg started "$started" '
      .checked_at? and .checked_at >= $started and (.status == "healthy" or .status == "degraded")
      and (.checks.probe.status == "ok" or .checks.probe.status == "warning")' >/dev/null 2>&1 <<<"$state"; then
    jq -r '"smoke test: \(.status), seen at \(.checked_at)", (.checks | to_entries[] | select(.value.status != "ok" and .value.status != "skipped") | "  \(.key): \(.value.status), \(.value.message // "")")' <<<"$state"
    exit 0
  fi
done
echo "smoke test: health did not report within $patience s that the probe came out; last: $state" >&2
exit 1

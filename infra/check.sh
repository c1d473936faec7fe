#!/usr/bin/env bash
# Checks the templates in three steps, none of which finds everything alone:
#   1. sam validate                      unknown properties of SAM resources
#   2. cfn-lint on the expanded template references, ranges, types
#   3. cfn-lint on each nested template
# Usage: check.sh [TEMPLATE]; with one, only that template is checked (1 and 2).
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../tests/env.sh"
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none

venv=$FRESHET_CACHE/venv-sam-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -f "$venv/.complete" ]; then
  echo "installing sam and cfn-lint …"
  rm -rf "$venv" && python3 -m venv "$venv" && "$venv/bin/pip" install --quiet -r "$here/requirements.txt" &&
    touch "$venv/.complete" || exit 1
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
passed=0 failed=0
step() { # name, command…
  local name=$1; shift
  if "$@" >"$work/out" 2>&1; then
    passed=$((passed + 1)); echo "ok      $name"
  else
    failed=$((failed + 1)); echo "FAILED  $name"; sed 's/^/        /' "$work/out"
  fi
}
expanded() { # the template as CloudFormation will see it, then linted
  "$venv/bin/python" "$here/expand.py" "$1" > "$work/expanded.json" && "$venv/bin/cfn-lint" "$work/expanded.json"
}

template=${1:-$here/../template.yaml}
step "sam validate" "$venv/bin/sam" validate --template "$template"
step "cfn-lint, expanded" expanded "$template"
if [ $# -eq 0 ]; then
  for nested in "$here"/*.yaml; do step "cfn-lint $(basename "$nested")" "$venv/bin/cfn-lint" "$nested"; done
fi
echo "template checks: $passed passed, $failed failed"
[ "$failed" -eq 0 ]

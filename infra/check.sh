#!/usr/bin/env bash
# Checks the templates in four steps, none of which finds everything alone:
#   1. sam validate                      unknown properties of SAM resources
#   2. cfn-lint on the expanded template references, ranges, types
#   3. cfn-lint on each nested template
#   4. checkov on all of them            policy; exceptions in policy/exceptions.yaml
# Usage: check.sh [TEMPLATE]; with one, only that template is checked (1 and 2).
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../tests/env.sh"
source "$here/tools.sh"

venv=$(sam_environment) || exit 1
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
policy() { # what is expanded, and what it nests
  local policy file files=("template.yaml=$work/expanded.json")
  policy=$(policy_environment) || return 1
  for file in "$here"/*.yaml; do files+=("$(basename "$file")=$file"); done
  "$policy/bin/python" "$here/policy/check.py" "$policy/bin/checkov" "${files[@]}"
}

template=${1:-$here/../template.yaml}
step "sam validate" "$venv/bin/sam" validate --template "$template"
step "cfn-lint, expanded" expanded "$template"
if [ $# -eq 0 ]; then
  for nested in "$here"/*.yaml; do step "cfn-lint $(basename "$nested")" "$venv/bin/cfn-lint" "$nested"; done
  step "checkov" policy
fi
echo "template checks: $passed passed, $failed failed"
[ "$failed" -eq 0 ]

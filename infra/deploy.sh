#!/usr/bin/env bash
# Deploys what `sam build` has built, with the stage's parameters of samconfig.toml
# and a Release made of them and of the code: whatever changes is published.
# Usage: deploy.sh STAGE [PARAMETER=VALUE…] [-- option of sam deploy…]
#        deploy.sh --print STAGE …   only says what it would run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
print=; if [ "${1:-}" = --print ]; then print=yes; shift; fi
stage=${1:?usage: deploy.sh [--print] STAGE [PARAMETER=VALUE…] [-- option of sam deploy…]}; shift
parameters=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do parameters+=("$1"); shift; done
[ $# -eq 0 ] || shift

# What is given here replaces the same parameter of samconfig.toml. A parameter
# without a value keeps its default.
mapfile -t overrides < <(python3 - "$stage" ${parameters[@]+"${parameters[@]}"} <<'PYTHON'
import sys, tomllib
stage, *given = sys.argv[1:]
with open("samconfig.toml", "rb") as file:
    config = tomllib.load(file)
if stage not in config or "deploy" not in config[stage]:
    sys.exit(f"samconfig.toml has no stage {stage}")
pairs = dict(pair.split("=", 1) for pair in config[stage]["deploy"]["parameters"]["parameter_overrides"])
pairs.update(pair.split("=", 1) for pair in given)
print("\n".join(f"{name}={value}" for name, value in pairs.items() if value))
PYTHON
)
[ ${#overrides[@]} -gt 0 ] || exit 1

commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo none)
# Uncommitted changes count, and so does every parameter.
digest=$( { printf '%s\n' "${overrides[@]}"; git diff HEAD 2>/dev/null || true; } | sha256sum | cut -c1-8)
overrides+=("Release=$commit-$digest")

command=(sam deploy --config-env "$stage" --no-fail-on-empty-changeset --parameter-overrides "${overrides[@]}" "$@")
if [ -n "$print" ]; then printf '%s\n' "${command[@]}"; else exec "${command[@]}"; fi

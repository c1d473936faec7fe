#!/usr/bin/env bash
# Everything that must hold, cheapest first: ./freshet test [part …]
# Parts: style unit client template e2e (all, without an argument).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/env.sh

parts=("$@"); [ ${#parts[@]} -gt 0 ] || parts=(style unit client template e2e)
log=$(mktemp); trap 'rm -f "$log"' EXIT
failed_steps=()

step() { # name, command…: its output is shown and kept for the closing count
  local name=$1 start=$SECONDS; shift
  printf '\n── %s\n' "$name"
  if "$@" 2>&1 | tee -a "$log"; then
    printf '── %s: ok, %d s\n' "$name" $((SECONDS - start))
  else
    printf '── %s: FAILED, %d s\n' "$name" $((SECONDS - start))
    failed_steps+=("$name")
  fi
}

style() {
  step "format" cargo fmt --all --check
  step "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
  step "lints, end to end" cargo clippy --quiet --package freshet-tests --test end_to_end -- -D warnings
}
unit() { # unit, property and doc tests, the event source mapping's table among them
  step "unit, property and doc tests" cargo test --quiet --workspace
}
client() {
  step "browser client" node --test --test-reporter=tap clients/browser/
  step "dashboard page" node --test --test-reporter=tap tests/browser/
  step "the map, drawn by Vega" bash tests/vega/run.sh
}
template() {
  step "template checks" bash infra/check.sh
  step "template promises" bash tests/template/run.sh
  step "template mutations" bash tests/template/mutations.sh
  step "the OpenAPI document" bash tests/openapi/run.sh
}
e2e() { # on the real servers, one test at a time: each starts a stack of its own
  # What needs a full cluster is ignored, which counts as skipped, unless one is named.
  local ignored=(); [ -z "${FRESHET_OPENSEARCH_URL:-}" ] || ignored=(--include-ignored)
  step "end to end" cargo test --quiet --workspace --test end_to_end -- --test-threads=1 "${ignored[@]}"
}

step "lookups (user agents, places)" infra/lookups/install.sh
for part in "${parts[@]}"; do
  case $part in
    style | unit | client | template | e2e) "$part" ;;
    *) echo "no such part: $part (style unit client template e2e)" >&2; exit 2 ;;
  esac
done

# The closing line adds up what the runners themselves reported.
count() { # cargo's and node's words for an outcome
  awk -v cargo="$1" -v tap="$2" '
    /^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ "^" cargo) sum += $(i-1) }
    $1 == "#" && $2 == tap { sum += $3 }
    /^(template [a-z]+|openapi document): [0-9]+ passed/ { for (i = 2; i <= NF; i++) if ($i ~ "^" cargo) sum += $(i-1) }
    END { print sum + 0 }' "$log"
}
passed=$(count passed pass); failed=$(count failed fail); skipped=$(count ignored skipped)
printf '\n'
if [ ${#failed_steps[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed_steps[@]}"; fi
[ ${#failed_steps[@]} -le "$failed" ] || failed=${#failed_steps[@]}
printf 'freshet: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ ${#failed_steps[@]} -eq 0 ] && [ "$passed" -gt 0 ]

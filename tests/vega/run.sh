#!/usr/bin/env bash
# Draws the map's Vega specification with Vega itself, the major version that
# OpenSearch Dashboards brings. Vega is installed into the cache as the lock
# file pins it, once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../env.sh"
FRESHET_VEGA=$FRESHET_CACHE/vega-$(sha256sum "$here/package-lock.json" | cut -c1-12)
export FRESHET_VEGA
if [ ! -f "$FRESHET_VEGA/.complete" ]; then
  staging=$(mktemp -d "$FRESHET_CACHE/.vega-XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$staging/"
  (cd "$staging" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  touch "$staging/.complete"
  # Another run may have been quicker: its folder is as good.
  mv -T "$staging" "$FRESHET_VEGA" 2>/dev/null || [ -f "$FRESHET_VEGA/.complete" ]
fi
exec node --test --test-reporter=tap "$here/"

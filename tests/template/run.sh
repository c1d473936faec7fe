#!/usr/bin/env bash
# What templates promise beyond their syntax; each script prints its own count.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../env.sh"
source "$here/../../infra/tools.sh"
venv=$(sam_environment) || exit 1
failed=0
for script in "${@:-alarms dashboard policies deployment smoke}"; do
  for name in $script; do "$venv/bin/python" "$here/$name.py" || failed=1; done
done
exit $failed

# The Python environments of the template checks. Sourced; needs tests/env.sh.
infra=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# SAM looks things up by region, and asks nobody.
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none PYTHONDONTWRITEBYTECODE=1

environment() { # name, requirements: makes it if need be, and prints where it is
  local venv
  venv=$FRESHET_CACHE/venv-$1-$(sha256sum "$2" | cut -c1-12)
  if [ ! -f "$venv/.complete" ]; then
    echo "installing $(basename "$2") …" >&2
    { rm -rf "$venv" && python3 -m venv "$venv" && "$venv/bin/pip" install --quiet -r "$2" && touch "$venv/.complete"; } >&2 || return 1
  fi
  echo "$venv"
}
sam_environment() { environment sam "$infra/requirements.txt"; }
policy_environment() { environment policy "$infra/requirements-policy.txt"; }

# Where downloads and build output are kept, outside the checkout. Sourced.
if [ -z "${FRESHET_CACHE:-}" ]; then
  if [ "$(id -u)" = 0 ]; then FRESHET_CACHE=/var/cache/freshet; else FRESHET_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/freshet; fi
fi
export FRESHET_CACHE
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$FRESHET_CACHE/target}
mkdir -p "$FRESHET_CACHE" "$CARGO_TARGET_DIR"

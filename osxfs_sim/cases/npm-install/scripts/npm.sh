# shellcheck shell=bash
# Sourced by the scripts beside it: npm as set-up and the measured command both run it.

lacking() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 3
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

need_npm() {
  local name
  for name in node npm; do
    command -v -- "$name" >/dev/null 2>&1 ||
      lacking "'$name' is missing; run: apt-get install --no-install-recommends nodejs npm"
  done
}

# npm_in PROJECT CACHE ARGUMENT...: the user's own configuration names the registry, in set-up and
# later: npm finds in its cache what it asked the same registry for. No package's own script is
# run. The list that npm leaves in node_modules names no registry, so that it is the same everywhere.
npm_in() {
  local project=$1 cache=$2
  shift 2
  cd -- "$project" || exit 1
  env -u CI -u NODE_OPTIONS -u NODE_ENV npm_config_cache="$cache" npm_config_logs_max=0 \
    npm_config_omit_lockfile_registry_resolved=true \
    npm "$@" --ignore-scripts --no-audit --no-fund --no-update-notifier --no-progress --loglevel error
}

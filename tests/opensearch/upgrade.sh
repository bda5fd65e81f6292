#!/usr/bin/env bash
# One node whose data goes from version to version, for the tests of an upgrade in place. See `upgrade.sh --help`.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mapfile -t versions < <("$here/version.sh" all)
default_version=$("$here/version.sh" default)

usage() {
  cat <<HELP
upgrade.sh COMMAND
  up               assembles what is missing, makes a node of each version, starts the first of them with
                   no data and prints its URL. Exits with 3 where the plugins of a version cannot be had
  to VERSION [HOW] ends the node and opens its data with that version: its own distribution, plugins,
                   Java and configuration. HOW is \`stop\` (TERM, the default) or \`kill\` (kill -9)
  down             stops the node, and deletes its data and the nodes of the other versions

The versions are ${versions[*]}. It is node.sh that does the work, so its settings hold, but:
  ALERTLOOP_TEST_UPGRADE_PORT  default 19430
  ALERTLOOP_TEST_PLUGINS       folder of the plugin zips of $default_version; FOLDER-VERSION has those of another one
HELP
}
say() { echo "upgrade.sh: $*" >&2; }
die() { say "$*"; exit 1; }

export ALERTLOOP_TEST_PORT=${ALERTLOOP_TEST_UPGRADE_PORT:-19430} ALERTLOOP_TEST_SECURITY=no ALERTLOOP_TEST_PLAIN=no
root=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}
folder() { echo "$root/$1/node-$ALERTLOOP_TEST_PORT"; } # as node.sh has it
node() { # VERSION COMMAND
  local plugins=${ALERTLOOP_TEST_PLUGINS:-}
  if [[ $plugins == /* && $1 != "$default_version" ]]; then plugins+=-$1; fi
  OS_VERSION=$1 ALERTLOOP_TEST_PLUGINS=$plugins "$here/node.sh" "$2"
}
is_known() { [[ " ${versions[*]} " == *" $1 "* ]]; }

without_plugins() { # VERSION
  say "there are no alerting and notifications plugins of OpenSearch $1"
  exit 3
}

up() {
  local version
  [ "${ALERTLOOP_TEST_PLUGINS:-}" != none ] || without_plugins "${versions[0]}"
  down
  # each lays out a configuration of its own, in a folder whose data is then another one's
  for version in "${versions[@]:1}" "${versions[0]}"; do
    node "$version" up >/dev/null
    if ! node "$version" alerting; then
      down
      without_plugins "$version"
    fi
    [ "$version" = "${versions[0]}" ] || node "$version" stop
  done
  echo "${versions[0]}" >"$root/upgrade-$ALERTLOOP_TEST_PORT"
  node "${versions[0]}" url
}
to() { # VERSION HOW
  local before
  before=$(cat "$root/upgrade-$ALERTLOOP_TEST_PORT" 2>/dev/null) || die "there is no node; run 'upgrade.sh up' first"
  [ "$before" != "$1" ] || die "it is $1 already"
  node "$before" "$2"
  rm -rf "$(folder "$1")/data"
  mv "$(folder "$before")/data" "$(folder "$1")/data"
  echo "$1" >"$root/upgrade-$ALERTLOOP_TEST_PORT"
  node "$1" start
}
down() {
  local version
  for version in "${versions[@]}"; do node "$version" down; done
  rm -f "$root/upgrade-$ALERTLOOP_TEST_PORT"
}

case ${1:-} in
  up) up ;;
  to)
    is_known "${2:-}" || die "which version: ${versions[*]}?"
    [[ ${3:-stop} =~ ^(stop|kill)$ ]] || die "how: stop or kill?"
    to "$2" "${3:-stop}"
    ;;
  down) down ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac

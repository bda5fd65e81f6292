#!/usr/bin/env bash
# A cluster of three OpenSearch nodes, for the tests that kill one of them. See `cluster.sh --help`.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'HELP'
cluster.sh COMMAND
  up        assembles what is missing, starts three new nodes and waits until they are one cluster
  kill N    kill -9 of node 0, 1 or 2
  start N   starts it again with its data, and waits until it is back in the cluster
  down      stops all and deletes their data
  urls      the three URLs

Settings: OS_VERSION, ALERTLOOP_TEST_DIR, OPENSEARCH_JAVA_HOME and MVN_ARGS, as for node.sh;
ALERTLOOP_TEST_CLUSTER_PORT is the first of three ports, default 19410; transport is 100 above.
HELP
}
say() { echo "cluster.sh: $*" >&2; }
die() { say "$*"; exit 1; }

export OS_VERSION=${OS_VERSION:-3.4.0}
first_port=${ALERTLOOP_TEST_CLUSTER_PORT:-19410}
root=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}
state=$root/$OS_VERSION
[[ $root == /* && $root != *[[:space:]]* ]] || die "ALERTLOOP_TEST_DIR must be an absolute path without spaces, not '$root'"

port() { echo $((first_port + $1)); }
url() { echo "http://127.0.0.1:$(port "$1")"; }
# named as node.sh names them, which then leaves the distribution of these alone
node() { echo "$state/node-$(port "$1")"; }
pid() { # N
  local pid
  pid=$(cat "$(node "$1").pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -e "-Epath.data=$(node "$1")/data" -e "$(node "$1")" || return 1
  echo "$pid"
}
end_by() { # SIGNAL N
  local pid end=$((SECONDS + 30))
  pid=$(pid "$2") || return 0
  kill "-$1" "$pid" 2>/dev/null || true
  while pid "$2" >/dev/null; do
    (( SECONDS < end )) || die "node $2 does not end on $1"
    sleep 0.1
  done
}
launch() { # N
  local settings hosts
  mapfile -t settings <"$(node "$1").settings"
  hosts=127.0.0.1:$((first_port + 100)),127.0.0.1:$((first_port + 101)),127.0.0.1:$((first_port + 102))
  OPENSEARCH_JAVA_HOME=${settings[2]} OPENSEARCH_JAVA_OPTS="-XX:TieredStopAtLevel=1 -Xms256m -Xmx512m" \
    setsid "$here/run.sh" "${settings[1]}" "$(port "$1")" "$(node "$1")" \
    -Ecluster.name=three -Enode.name="node-$1" -Etransport.port=$(($(port "$1") + 100)) \
    -Ediscovery.type=zen -Ediscovery.seed_hosts="$hosts" -Ecluster.initial_cluster_manager_nodes=node-0,node-1,node-2 \
    </dev/null >"$(node "$1").log" 2>&1 &
  echo $! >"$(node "$1").pid"
}
# Until node N sees so many nodes, and every copy of every shard is where it should be.
wait_for() { # N HEALTH-PARAMETERS
  local end=$((SECONDS + 300))
  until curl --noproxy '*' -fs -m 5 -o /dev/null "$(url "$1")/_cluster/health?timeout=2s&$2"; do
    (( SECONDS < end )) || die "node $1 is not back after 300 s; see $(node "$1").log"
    sleep 0.2
  done
}

up() {
  local n java stamp distribution
  down
  mkdir -p "$state"
  "$here/../../scripts/need" curl unzip mvn=maven
  java=$("$here/java.sh" "$OS_VERSION" "$root")
  # as in node.sh: PyPI's small Java lacks what this module needs
  if ! LC_ALL=C grep -qF thai_dict "$java/lib/modules"; then export LEAVE_OUT_MODULES=analysis-common; fi
  stamp=$("$here/assemble.sh" --stamp)
  distribution=$state/distribution-${stamp:0:12}
  for n in 0 1 2; do printf '%s\n' three "$distribution" "$java" >"$(node $n).settings"; done
  say "assembling OpenSearch $OS_VERSION, where that was not done before"
  "$here/assemble.sh" "$distribution" >&2
  for n in 0 1 2; do launch $n; done
  for n in 0 1 2; do wait_for $n 'wait_for_nodes=3&wait_for_status=green'; done
  urls
}
down() {
  local n
  for n in 0 1 2; do
    end_by KILL $n
    rm -rf "$(node $n)" "$(node $n)".{pid,log,settings}
  done
}
urls() { for n in 0 1 2; do url "$n"; done; }

command=${1:-} n=${2:-}
case $command in
  kill | start) [[ $n =~ ^[012]$ ]] || die "which node: 0, 1 or 2?" ;;
esac
case $command in
  up) up ;;
  down) down ;;
  urls) urls ;;
  kill) end_by KILL "$n" ;;
  start)
    [ -f "$(node "$n").settings" ] || die "there is no cluster; run 'cluster.sh up' first"
    pid "$n" >/dev/null || launch "$n"
    wait_for "$n" 'wait_for_nodes=3'
    ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac

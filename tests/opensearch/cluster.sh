#!/usr/bin/env bash
# A cluster of three OpenSearch nodes, for the tests that break one of them. See `cluster.sh --help`.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

usage() {
  cat <<'HELP'
cluster.sh COMMAND
  up [--apart] [--while PID]
               assembles what is missing, starts three nodes unless they run, mends what was broken, waits
               until they are one green cluster and prints the three URLs. --apart gives each node a network
               of its own, which `cut` can take from it (needs root and Linux; exits with 3 where that cannot
               be had). With --while the cluster is taken down once the process PID has ended
  kill N       kill -9 of node 0, 1 or 2
  stop N       stops it in order
  start N      starts it again with its data, and waits until it is back in the cluster
  cut N peers  node N loses the other nodes, and nobody else
  cut N all    node N loses everybody
  mend N       gives it back what was cut
  down         stops all and deletes their data
  urls         the three URLs
  here         the address by which the nodes reach this machine
  alerting     exit 0 when the nodes have the alerting and notifications plugins, else 1

Settings: OS_VERSION, ALERTLOOP_TEST_DIR, ALERTLOOP_TEST_PLUGINS (but Maven is not asked for them),
OPENSEARCH_JAVA_HOME and MVN_ARGS, as for node.sh; ALERTLOOP_TEST_CLUSTER_PORT is the first of three
ports, default 19410; transport is 100 above.
HELP
}
say() { echo "cluster.sh: $*" >&2; }
die() { say "$*"; exit 1; }

default_version=$("$here/version.sh" default)
export OS_VERSION=${OS_VERSION:-$default_version}
first_port=${ALERTLOOP_TEST_CLUSTER_PORT:-19410}
[[ $first_port =~ ^[1-9][0-9]{0,4}$ && $first_port -le 65400 ]] || die "ALERTLOOP_TEST_CLUSTER_PORT must be a port up to 65400, not '$first_port'"
root=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}
state=$root/$OS_VERSION
[[ $root == /* && $root != *[[:space:]]* ]] || die "ALERTLOOP_TEST_DIR must be an absolute path without spaces, not '$root'"
apart_file=$state/cluster-$first_port.apart # is there while the nodes have networks of their own

port() { echo $((first_port + $1)); }
url() { echo "http://$(address clients "$1"):$(port "$1")"; }
# named as node.sh names them, which then leaves the distribution of these alone
node() { echo "$state/node-$(port "$1")"; }
pid() { # N
  local pid
  pid=$(cat "$(node "$1").pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -e "-Epath.data=$(node "$1")/data" -e "$(node "$1")" || return 1
  echo "$pid"
}
# held until this process ends, so that a `down` that comes late takes down no new cluster
lock() {
  mkdir -p "$state"
  exec {lock_fd}>"$state/cluster-$first_port.lock"
  flock -w 300 "$lock_fd" || die "another cluster.sh holds $state/cluster-$first_port.lock for 5 minutes"
}

# ---- the network: two bridges of this machine, one for the nodes among themselves and one for their clients

apart() { [ -e "$apart_file" ]; }
# Clients are in 198.18.0.0/15, which is set apart for tests of networks (RFC 2544). The nodes are in the
# loopback's network: on other addresses they insist on all that a server in production has.
address() { # peers|clients N
  local net=198.18
  apart || { echo 127.0.0.1; return; }
  [ "$1" = clients ] || net=127.19
  echo "$net.$((first_port % 256)).$(($2 + 1))"
}
bridge() { echo "al$first_port$1"; }         # peers|clients
link() { echo "al$first_port${1:0:1}$2"; }   # peers|clients N: this machine's end
namespace() { echo "alertloop-$(port "$1")"; } # N
lay_network() {
  local n of
  for of in peers clients; do
    ip link add "$(bridge $of)" type bridge && ip link set "$(bridge $of)" up || return 1
  done
  ip address add "$(address clients 253)/24" dev "$(bridge clients)" || return 1
  for n in 0 1 2; do
    ip netns add "$(namespace $n)" && ip -n "$(namespace $n)" link set lo up || return 1
    # of the loopback's network only this stays within the node
    ip -n "$(namespace $n)" address add 127.0.0.1/32 dev lo || return 1
    ip -n "$(namespace $n)" address delete 127.0.0.1/8 dev lo || return 1
    for of in peers clients; do
      ip link add "$(link $of $n)" type veth peer name $of netns "$(namespace $n)" || return 1
      ip link set "$(link $of $n)" master "$(bridge $of)" up || return 1
      nsenter "--net=/run/netns/$(namespace $n)" sh -c "echo 1 >/proc/sys/net/ipv4/conf/$of/route_localnet" || return 1
      ip -n "$(namespace $n)" address add "$(address $of $n)/24" dev $of || return 1
      ip -n "$(namespace $n)" link set $of up || return 1
    done
  done
}
take_network_away() {
  local n of
  apart || return 0
  for n in 0 1 2; do ip netns delete "$(namespace $n)" 2>/dev/null || true; done
  for of in peers clients; do
    for n in 0 1 2; do ip link delete "$(link $of $n)" 2>/dev/null || true; done
    ip link delete "$(bridge $of)" 2>/dev/null || true
  done
  rm -f "$apart_file"
}
set_links() { # N up|down OF...
  local n=$1 to=$2 of
  shift 2
  for of; do ip link set "$(link "$of" "$n")" "$to"; done
}

# ---- the nodes

end_by() { # SIGNAL N
  local pid end=$((SECONDS + 60))
  pid=$(pid "$2") || return 0
  kill "-$1" "$pid" 2>/dev/null || true
  while pid "$2" >/dev/null; do
    (( SECONDS < end )) || die "node $2 does not end on $1"
    sleep 0.1
  done
}
launch() { # N
  local settings hosts place=()
  mapfile -t settings <"$(node "$1").settings"
  hosts=$(address peers 0):$((first_port + 100)),$(address peers 1):$((first_port + 101)),$(address peers 2):$((first_port + 102))
  if apart; then place=(nsenter "--net=/run/netns/$(namespace "$1")"); fi
  (
    # what a caller has open (the lock, a pipe) must not stay open for the node's whole life
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      if (( fd > 2 )); then eval "exec $fd>&-"; fi
    done
    # a node that is gone is to be noticed in seconds, as tests have no time
    OPENSEARCH_JAVA_HOME=${settings[2]} OPENSEARCH_JAVA_OPTS="-XX:TieredStopAtLevel=1 -Xms256m -Xmx512m" \
      exec "${place[@]}" setsid "$here/run.sh" "${settings[1]}" "$(port "$1")" "$(node "$1")" \
      -Ecluster.name=three -Enode.name="node-$1" -Etransport.port=$(($(port "$1") + 100)) \
      -Etransport.host="$(address peers "$1")" -Ehttp.host="$(address clients "$1")" \
      -Ediscovery.type=zen -Ediscovery.seed_hosts="$hosts" -Ecluster.initial_cluster_manager_nodes=node-0,node-1,node-2 \
      -Ecluster.fault_detection.leader_check.timeout=5s -Ecluster.fault_detection.leader_check.retry_count=2 \
      -Ecluster.fault_detection.follower_check.timeout=5s -Ecluster.fault_detection.follower_check.retry_count=2
  ) </dev/null >"$(node "$1").log" 2>&1 &
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

# ---- commands

all_plugins=(alerting notifications notifications-core)
find_plugins() { # prints the folder of the plugin zips, or nothing
  local folder=${ALERTLOOP_TEST_PLUGINS:-} plugin
  [ "$folder" != none ] || return 0
  [ -z "$folder" ] || { echo "$folder"; return; }
  folder=$repository/../shared/opensearch/plugins
  [ "$OS_VERSION" = "$default_version" ] || folder+=-$OS_VERSION
  [ "$OS_VERSION" = 3.4.0 ] || folder+=-$OS_VERSION
  for plugin in "${all_plugins[@]}"; do compgen -G "$folder/*$plugin-[0-9]*.zip" >/dev/null || return 0; done
  echo "$folder"
}
alerting() {
  local distribution plugin
  distribution=$(sed -n 2p "$(node 0).settings" 2>/dev/null) && [ -n "$distribution" ] || return 1
  for plugin in "${all_plugins[@]}"; do [ -d "$distribution/plugins/opensearch-$plugin" ] || return 1; done
}
up() { # what a new cluster is made of; one that is there already is only mended
  local n java plugins stamp identity began=$SECONDS
  "$repository/scripts/need" curl unzip mvn=maven
  java=$("$here/java.sh" "$OS_VERSION" "$root")
  # as in node.sh: PyPI's small Java lacks what this module needs
  if ! LC_ALL=C grep -qF thai_dict "$java/lib/modules"; then export LEAVE_OUT_MODULES=analysis-common; fi
  plugins=$(find_plugins)
  stamp=$("$here/assemble.sh" --stamp ${plugins:+"$plugins"})
  identity=$(cat "$here/cluster.sh" "$here/run.sh" | sha256sum | cut -c 1-12)-$stamp-$java-apart-$apart
  if [ "$(head -n 1 "$(node 0).settings" 2>/dev/null)" != "$identity" ]; then
    down
    if [ $apart = yes ]; then
      touch "$apart_file"
      lay_network || { say "no network namespaces and bridges can be made here"; take_network_away; exit 3; }
    fi
    for n in 0 1 2; do printf '%s\n' "$identity" "$state/distribution-${stamp:0:12}" "$java" >"$(node $n).settings"; done
    say "assembling OpenSearch $OS_VERSION, where that was not done before"
    "$here/assemble.sh" "$state/distribution-${stamp:0:12}" ${plugins:+"$plugins"} >&2
  fi
  for n in 0 1 2; do
    if apart; then set_links $n up peers clients; fi
    pid $n >/dev/null || launch $n
  done
  for n in 0 1 2; do wait_for $n 'wait_for_nodes=3&wait_for_status=green'; done
  say "three nodes of OpenSearch $OS_VERSION are one cluster after $((SECONDS - began)) s"
  [ -z "$while" ] || watch_over
  urls
}
# Takes the cluster down when the process is gone; one watcher a process is enough.
watch_over() {
  local watched=$state/cluster-$first_port.while
  [ "$(cat "$watched" 2>/dev/null)" != "$while" ] || return 0
  echo "$while" >"$watched"
  (
    exec {lock_fd}>&-
    while kill -0 "$while" 2>/dev/null; do sleep 1; done
    # another process may have asked for it since
    [ "$(cat "$watched" 2>/dev/null)" != "$while" ] || exec "$here/cluster.sh" down
  ) </dev/null >/dev/null 2>&1 &
  disown
}
down() {
  local n
  for n in 0 1 2; do
    end_by KILL $n
    rm -rf "$(node $n)" "$(node $n)".{pid,log,settings}
  done
  rm -f "$state/cluster-$first_port.while"
  take_network_away
}
urls() { for n in 0 1 2; do url "$n"; done; }

command=${1:-}
[ $# -eq 0 ] || shift
n=
case $command in
  kill | stop | start | cut | mend)
    n=${1:-}
    [[ $n =~ ^[012]$ ]] || die "which node: 0, 1 or 2?"
    [ -f "$(node "$n").settings" ] || die "there is no cluster; run 'cluster.sh up' first"
    ;;
esac
case $command in
  cut | mend) apart || die "the nodes have no networks of their own; run 'cluster.sh up --apart' first" ;;
esac
case $command in
  up)
    apart=no while=
    while [ $# -gt 0 ]; do
      case $1 in
        --apart) apart=yes ;;
        --while) while=${2:-}; shift ;;
        *) die "unknown option '$1'; see cluster.sh --help" ;;
      esac
      shift
    done
    lock
    up
    ;;
  down) lock; down ;;
  urls) urls ;;
  here) address clients 253 ;;
  alerting) alerting ;;
  kill) end_by KILL "$n" ;;
  stop) end_by TERM "$n" ;;
  start)
    pid "$n" >/dev/null || launch "$n"
    wait_for "$n" 'wait_for_nodes=3'
    ;;
  cut)
    case ${2:-} in
      peers) set_links "$n" down peers ;;
      all) set_links "$n" down peers clients ;;
      *) die "cut what: peers or all?" ;;
    esac
    ;;
  mend) set_links "$n" up peers clients ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac

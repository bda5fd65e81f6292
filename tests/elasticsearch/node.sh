#!/usr/bin/env bash
# One Elasticsearch node that tests share. See `node.sh --help`.
set -euo pipefail
shopt -s nullglob
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
version=${ES_VERSION:-7.10.2}
case $version in 7.10.2) default_port=19280 ;; *) default_port=19290 ;; esac

usage() {
  cat <<HELP
node.sh COMMAND
  up      assembles Elasticsearch $version from Maven Central, starts it unless it runs, waits until it is
          healthy and prints its URL
  down    stops the node and deletes its data; what was assembled stays
  status  what runs (exit 0) or that nothing does (exit 1)
  url     the URL, whether it runs or not

Only the answer goes to stdout; progress goes to stderr.
Settings:
  ES_VERSION           7.10.2 (default; on Java 11 to 21), which runs monitors; or 8.19.21 (on Java 21 or
                       later): the server alone, as its modules (GET /, Painless, Mustache, reindex) are
                       not on Maven Central. So it answers what needs no script. Of 9 there is no node there
  ALERTLOOP_TEST_PORT  default 19280, of 8.19.21 19290; each port is a node of its own
  ALERTLOOP_TEST_DIR   default \${XDG_CACHE_HOME:-/var/tmp}/alertloop-test; no spaces in it
  OPENSEARCH_JAVA_HOME, JAVA_HOME, MVN_ARGS
HELP
}
say() { echo "node.sh: $*" >&2; }
die() { say "$*"; exit 1; }
case $version in 7.10.2 | 8.19.21) ;; *) die "ES_VERSION must be 7.10.2 or 8.19.21, not '$version'" ;; esac

port=${ALERTLOOP_TEST_PORT:-$default_port}
[[ $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65400 ]] || die "ALERTLOOP_TEST_PORT must be a port up to 65400, not '$port'"
url=http://127.0.0.1:$port
root=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}
[[ $root == /* && $root != *[[:space:]]* ]] || die "ALERTLOOP_TEST_DIR must be an absolute path without spaces, not '$root'"
state=$root/elasticsearch-$version
node=$state/node-$port # the node's own folder; beside it .pid and .log
server_user=${OS_USER:-nobody} # whom the server runs as when root, as it refuses to be root

lock() {
  mkdir -p "$state"
  exec {lock_fd}>"$state/lock"
  flock -n "$lock_fd" && return
  say "waiting for another node.sh that is at work"
  flock -w 900 "$lock_fd" || die "another node.sh holds $state/lock for 15 minutes; see 'fuser $state/lock'"
}

# ---- what it is made of

# module NAME CLASS JAR...: lays the jars out as modules/NAME and writes its descriptor
module() {
  local name=$1 class=$2 dir=$made/modules/$1 jar found
  shift 2
  mkdir -p "$dir"
  for jar; do
    found=("$jars/$jar"-[0-9]*.jar)
    [ ${#found[@]} -eq 1 ] || die "module $name: no single $jar jar in $jars"
    cp "${found[0]}" "$dir/"
  done
  cat >"$dir/plugin-descriptor.properties" <<DESCRIPTOR
description=$name module, laid out by node.sh
version=$version
name=$name
classname=org.elasticsearch.$class
java.version=1.8
elasticsearch.version=$version
extended.plugins=
has.native.controller=false
DESCRIPTOR
}
# policy MODULE PERMISSIONS: what the module may do under the SecurityManager; the jars carry none
policy() { echo "grant { $2 };" >"$made/modules/$1/plugin-security.policy"; }

assemble() { # DISTRIBUTION
  local new jars made mvn_args size='35 MB'
  read -ra mvn_args <<<"${MVN_ARGS:-}"
  new=$(mktemp -d "$state/.assemble.XXXXXX")
  jars=$new/jars made=$new/elasticsearch-$version
  if [ "$version" = 7.10.2 ]; then
    mvn_args+=(-f "$here/pom.xml" -Dstage="$jars" dependency:copy)
  else
    size='105 MB'
    mvn_args+=(org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -DoutputDirectory="$jars"
      -Dartifact="org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip")
  fi
  say "assembling Elasticsearch $version from Maven artifacts ($size to fetch the first time)"
  if ! (cd "$new" && mvn -q -B -ntp "${mvn_args[@]}") >"$state/maven.log" 2>&1; then
    rm -rf "$new"
    cat "$state/maven.log" >&2
    say "Maven could not fetch an artifact (its message is above)"
    exit 3
  fi
  unzip -q "$jars/elasticsearch-$version.zip" -d "$new" -x '*.exe' '*.bat'
  [ "$version" != 7.10.2 ] || modules
  mkdir -p "$made/plugins" "$made/logs"
  chmod -R a+rX,go-w "$made"
  rm -rf "$1"
  mv "$made" "$1"
  rm -rf "$new"
}
modules() { # within assemble
  module lang-painless painless.PainlessPlugin \
    lang-painless scripting-painless-spi antlr4-runtime asm asm-analysis asm-commons asm-tree asm-util
  module lang-mustache script.mustache.MustachePlugin lang-mustache-client compiler
  module mapper-extras index.mapper.MapperExtrasPlugin mapper-extras-client
  module parent-join join.ParentJoinPlugin parent-join-client
  module aggs-matrix-stats search.aggregations.matrix.MatrixAggregationPlugin aggs-matrix-stats-client
  module reindex index.reindex.ReindexPlugin reindex-client elasticsearch-ssl-config elasticsearch-rest-client \
    httpclient httpcore httpasyncclient httpcore-nio commons-codec commons-logging
  policy lang-painless 'permission java.lang.RuntimePermission "createClassLoader"; permission java.lang.RuntimePermission "getClassLoader";'
  policy lang-mustache 'permission java.lang.RuntimePermission "accessDeclaredMembers"; permission java.lang.reflect.ReflectPermission "suppressAccessChecks";'
  policy reindex 'permission java.net.SocketPermission "*", "connect"; permission java.net.NetPermission "getProxySelector";'
}

# ---- the process

# The process that the pid file names, if it is our node: after a reboot the number may be another's.
pid() {
  local pid
  pid=$(cat "$node.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -e "-Epath.data=$node/data" || return 1
  echo "$pid"
}
healthy() {
  pid >/dev/null && curl --noproxy '*' -fs -m 5 -o /dev/null "$url/_cluster/health?wait_for_status=yellow&timeout=2s"
}
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
launch() { # DISTRIBUTION JAVA
  local began=$SECONDS misses=0 release options as_user=()
  if port_answers; then die "port $port is in use by another program; set ALERTLOOP_TEST_PORT"; fi
  mkdir -p "$node"/{data,logs,tmp}
  rm -rf "$node/config"
  cp -r "$1/config" "$node/config"
  sed -i "s#=logs/#=$node/logs/#; s#:logs/#:$node/logs/#; s#file=logs/#file=$node/logs/#; s#HeapDumpPath=data#HeapDumpPath=$node/data#" "$node/config/jvm.options"
  cat >"$node/config/elasticsearch.yml" <<SETTINGS
cluster.name: local
node.name: local
network.host: 127.0.0.1
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
SETTINGS
  # on by default since 8
  [ "$version" = 7.10.2 ] || echo "xpack.security.enabled: false" >>"$node/config/elasticsearch.yml"
  release=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$2/release")
  options="-Xms512m -Xmx512m -XX:TieredStopAtLevel=1"
  # 7 installs the SecurityManager, which is only allowed since 18; 8 has none where it need not
  (( release < 18 )) || [ "$version" != 7.10.2 ] || options+=" -Djava.security.manager=allow"
  if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid "$server_user" --regid "$(id -g "$server_user")" --clear-groups)
    chown -R "$server_user:" "$node"
  fi
  say "starting Elasticsearch $version (log: $node.log)"
  (
    # what a caller has open (a lock, a pipe) must not stay open for the node's whole life
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      if (( fd > 2 )); then eval "exec $fd>&-"; fi
    done
    exec setsid "${as_user[@]}" env JAVA_HOME="$2" ES_JAVA_HOME="$2" ES_PATH_CONF="$node/config" ES_TMPDIR="$node/tmp" ES_JAVA_OPTS="$options" \
      "$1/bin/elasticsearch" -Epath.data="$node/data" -Epath.logs="$node/logs" -Ehttp.port="$port" \
      -Etransport.port="$((port + 100))-$((port + 109))"
  ) </dev/null >"$node.log" 2>&1 &
  echo $! >"$node.pid"
  until healthy; do
    # while a process turns into another program its command line cannot be read, so one miss says nothing
    if pid >/dev/null; then misses=0; else misses=$((misses + 1)); fi
    if (( misses > 25 )); then
      grep -v '^[[:space:]]*at ' "$node.log" | tail -n 20 >&2
      die "Elasticsearch ended while starting (the end of $node.log is above)"
    fi
    (( SECONDS - began < 300 )) || die "Elasticsearch is not healthy after 300 s; see $node.log"
    sleep 0.2
  done
  say "Elasticsearch $version is up at $url after $((SECONDS - began)) s"
}
stop() {
  local running end=$((SECONDS + 30))
  running=$(pid) || { rm -f "$node.pid"; return 0; }
  kill "$running"
  while pid >/dev/null || port_answers; do
    (( SECONDS < end )) || kill -9 "$running" 2>/dev/null || true
    (( SECONDS < end + 10 )) || die "process $running does not end on KILL"
    sleep 0.1
  done
  rm -f "$node.pid"
}

# ---- commands

up() {
  local java distribution old like=2.19.4
  "$repository/scripts/need" curl unzip mvn=maven
  # OpenSearch 2 and Elasticsearch 7 run on the same ones, and so do OpenSearch 3 and Elasticsearch 8
  [ "$version" = 7.10.2 ] || like=3.4.0
  java=$("$repository/tests/opensearch/java.sh" "$like" "$root")
  lock
  distribution=$state/distribution-$(cat "$here/pom.xml" "$here/node.sh" | sha256sum | cut -c1-12)
  if healthy; then echo "$url"; return; fi
  for old in "$state"/distribution-* "$state"/.assemble.*; do [ "$old" = "$distribution" ] || rm -rf "$old"; done
  [ -d "$distribution" ] || assemble "$distribution"
  stop
  launch "$distribution" "$java"
  echo "$url"
}

case ${1:-} in
  up) up ;;
  down) lock; stop; rm -rf "$node" ;;
  status)
    if ! pid >/dev/null; then echo "down ($node)"; exit 1; fi
    if healthy; then echo "healthy: Elasticsearch $version, $url, process $(pid), $node"; else echo "starting: $url"; fi
    ;;
  url) echo "$url" ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac

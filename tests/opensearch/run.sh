#!/usr/bin/env bash
# run.sh DEST PORT DATA_DIR [opensearch args, such as -Ekey=value]
# Runs one node in the foreground (the process id stays the same, TERM stops it).
# All that the node writes is in DATA_DIR: config/ (copied from DEST on the first run, yours to
# edit after), data/, logs/, tmp/. DEST is only read.
# With the word "init" for PORT it only lays out DATA_DIR and ends.
# Env: what java.sh reads; OPENSEARCH_JAVA_OPTS; OS_USER (whom root becomes, default nobody).
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "run.sh: $*" >&2; exit 1; }

[ $# -ge 3 ] || die "usage: run.sh DEST PORT DATA_DIR [opensearch args]"
dest=$(realpath -m "$1") port=$2 dir=$(realpath -m "$3")
shift 3
[ -x "$dest/bin/opensearch" ] || die "$dest is not an assembled OpenSearch; run assemble.sh first"
[[ $port =~ ^([0-9]+|init)$ ]] || die "PORT must be a number or 'init', not '$port'"
[[ $dest$dir != *[[:space:]]* ]] || die "paths must not contain spaces (bin/opensearch does not quote JVM options)"
core=("$dest"/lib/opensearch-[0-9]*.jar)
version=${core[0]##*/opensearch-}
OPENSEARCH_JAVA_HOME=$("$here/java.sh" "${version%.jar}")
export OPENSEARCH_JAVA_HOME

lay_out() {
  cp -r "$dest/config" "$dir/config"
  # it writes gc.log and heap dumps under DEST, which is read-only here
  sed -i "s#=logs/#=$dir/logs/#; s#HeapDumpPath=data#HeapDumpPath=$dir/data#" "$dir/config/jvm.options"
  # a small Java runtime may lack the incubator's vectors, which only make some searches faster
  if grep -q '^MODULES=' "$OPENSEARCH_JAVA_HOME/release" && ! grep -q jdk.incubator.vector "$OPENSEARCH_JAVA_HOME/release"; then
    sed -i '/--add-modules=jdk.incubator.vector/d' "$dir/config/jvm.options"
  fi
  cat > "$dir/config/opensearch.yml" <<SETTINGS
cluster.name: local
node.name: local
network.host: 127.0.0.1
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
SETTINGS
}
mkdir -p "$dir"/{data,logs,tmp}
[ -d "$dir/config" ] || lay_out
[ "$port" != init ] || exit 0
export OPENSEARCH_PATH_CONF=$dir/config OPENSEARCH_TMPDIR=$dir/tmp
export OPENSEARCH_JAVA_OPTS="-Xms512m -Xmx1g ${OPENSEARCH_JAVA_OPTS:-}"

as_user=()
if [ "$(id -u)" = 0 ]; then # the server refuses to run as root
  user=${OS_USER:-nobody}
  as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
  chown -R "$user:" "$dir"
  "${as_user[@]}" test -r "$dest/bin/opensearch" -a -w "$dir" \
    || die "$user cannot read $dest or write $dir; choose folders whose parents are open to $user"
fi
exec "${as_user[@]}" "$dest/bin/opensearch" -Epath.data="$dir/data" -Epath.logs="$dir/logs" -Ehttp.port="$port" "$@"

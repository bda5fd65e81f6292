#!/usr/bin/env bash
# assemble.sh DEST [PLUGINS]
# Builds a runnable OpenSearch distribution in DEST from Maven artifacts alone: the official
# integ-test zip plus the modules that it leaves out, if any (pom.xml pins all of them).
# Each *.zip in the folder PLUGINS is unpacked to plugins/<name in its descriptor>/.
# Does nothing when DEST is already what these inputs give.
# With --stamp for DEST it only prints what identifies these inputs.
# Env: OS_VERSION (one of the table `versions`), MVN_ARGS (more Maven options),
#      LEAVE_OUT_MODULES (names of modules that this distribution shall not have),
#      WITHOUT_PLUGINS (`yes`: not even the job scheduler that Alerting needs).
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "assemble.sh: $*" >&2; exit 1; }

version=${OS_VERSION:-$("$here/version.sh" default)}
modules_are=$("$here/version.sh" modules "$version")
read -r java _ < <("$here/version.sh" java "$version") # the oldest one
Module=Module # main classes of modules are called XModulePlugin since 3.x
[[ $version != 2.* ]] || Module=
profiles=()
[ "$modules_are" = within ] || profiles=(-P "$version,modules")
(( $# == 1 || $# == 2 )) || die "usage: assemble.sh DEST|--stamp [PLUGINS]"
shopt -s nullglob
plugin_zips=()
if [ $# -eq 2 ]; then
  [ -d "$2" ] || die "no such folder of plugins: $2"
  plugin_zips=("$(realpath "$2")"/*.zip)
  [ ${#plugin_zips[@]} -gt 0 ] || die "no *.zip in $2"
fi
read -ra mvn_args <<<"${MVN_ARGS:-}"
read -ra left_out <<<"${LEAVE_OUT_MODULES:-}"
without_plugins=${WITHOUT_PLUGINS:-no}
[ "$without_plugins" = no ] || [ $# -eq 1 ] || die "WITHOUT_PLUGINS=yes and a folder of plugins contradict each other"

stamp=$(echo "$version ${left_out[*]}${without_plugins#no}" | cat - "$here/pom.xml" "$here/assemble.sh" "${plugin_zips[@]}" | sha256sum | cut -d' ' -f1)
[ "$1" != --stamp ] || { echo "$stamp"; exit; }

for tool in mvn unzip; do command -v $tool >/dev/null || die "'$tool' is not installed"; done
dest=$(realpath -m "$1")
if [ -e "$dest" ] && [ ! -f "$dest/.assembled" ] && ! rmdir "$dest" 2>/dev/null; then
  die "$dest exists and was not made by this script; not touching it"
fi
[ "$(cat "$dest/.assembled" 2>/dev/null || true)" != "$stamp" ] || { echo "$dest is up to date"; exit; }

mkdir -p "$(dirname "$dest")"
new=$(mktemp -d "$(dirname "$dest")/.assemble.XXXXXX")
trap 'rm -rf "$new"' EXIT
jars=$new/jars
if ! mvn -q -B -ntp "${mvn_args[@]}" "${profiles[@]}" -f "$here/pom.xml" -Dos="$version" -Dstage="$jars" dependency:copy >"$new/maven.log" 2>&1; then
  cat "$new/maven.log" >&2
  die "Maven could not fetch an artifact (its message is above)"
fi

# the FIPS demo installer repeats all of lib/ (50 MB); *.exe, *.bat are for Windows
not_needed=('*.exe' '*.bat')
[[ $version == 2.* ]] || not_needed+=('*/*fips-demo-installer*')
unzip -q "$jars"/opensearch-[0-9]*.zip -d "$new" -x "${not_needed[@]}"
root=$new/opensearch-$version
mkdir -p "$root/plugins" "$root/logs" "$root/config/jvm.options.d"

# module NAME CLASS EXTENDED JAR...: lays the jars out as modules/NAME and writes its descriptor
module() {
  local name=$1 class=$2 extended=$3 dir=$root/modules/$1 jar found
  shift 3
  mkdir -p "$dir"
  for jar; do
    found=("$jars/$jar"-[0-9]*.jar)
    [ ${#found[@]} -eq 1 ] || die "module $name: no single $jar jar in $jars"
    cp "${found[0]}" "$dir/"
  done
  cat > "$dir/plugin-descriptor.properties" <<DESCRIPTOR
description=$name module, laid out by assemble.sh
version=$version
name=$name
classname=org.opensearch.$class
java.version=$java
opensearch.version=$version
custom.foldername=
extended.plugins=$extended
has.native.controller=false
DESCRIPTOR
}

# policy MODULE PERMISSIONS: what the module may do under the Java agent (3.x) or the SecurityManager (2.x)
policy() { echo "grant { $2 };" > "$root/modules/$1/plugin-security.policy"; }

# The jars on Maven carry no policy: 3.x needs one only to connect out, as reindex-from-remote does;
# 2.x needs all four.
write_policies() {
  policy reindex 'permission java.net.SocketPermission "*", "connect"; permission java.net.NetPermission "getProxySelector";'
  [[ $version == 2.* ]] || return 0
  policy lang-painless 'permission java.lang.RuntimePermission "createClassLoader"; permission java.lang.RuntimePermission "getClassLoader";'
  policy lang-mustache 'permission java.lang.RuntimePermission "accessDeclaredMembers";'
  local class permissions='permission java.lang.RuntimePermission "createClassLoader";'
  for class in java.lang.String java.lang.Math \
    org.apache.lucene.expressions.Expression org.apache.lucene.expressions.js.ExpressionMath \
    org.apache.lucene.search.DoubleValues org.apache.lucene.util.MathUtil org.apache.lucene.util.SloppyMath; do
    permissions+=" permission org.opensearch.script.ClassPermission \"$class\";"
  done
  policy lang-expression "$permissions"
}

lay_out_modules() {
  local http=(httpclient5 httpcore5 httpcore5-h2 httpcore5-reactive slf4j-api)
  [[ $version != 2.* ]] || http=(httpclient httpcore httpasyncclient httpcore-nio)
  local asm=(asm asm-commons asm-tree)

  module lang-painless "painless.Painless${Module}Plugin" "" \
    lang-painless opensearch-scripting-painless-spi antlr4-runtime "${asm[@]}" asm-analysis asm-util
  module lang-mustache "script.mustache.Mustache${Module}Plugin" "" lang-mustache-client compiler
  module lang-expression "script.expression.Expression${Module}Plugin" "" \
    lang-expression lucene-expressions antlr4-runtime "${asm[@]}"
  module reindex "index.reindex.Reindex${Module}Plugin" "" \
    reindex-client opensearch-ssl-config opensearch-rest-client "${http[@]}" commons-codec commons-logging
  module percolator "percolator.Percolator${Module}Plugin" "" percolator-client
  module analysis-common "analysis.common.CommonAnalysis${Module}Plugin" lang-painless analysis-common
  module mapper-extras "index.mapper.MapperExtras${Module}Plugin" "" mapper-extras-client
  module parent-join "join.ParentJoin${Module}Plugin" "" parent-join-client
  module aggs-matrix-stats "search.aggregations.matrix.MatrixAggregation${Module}Plugin" "" aggs-matrix-stats-client
  module ingest-common "ingest.common.IngestCommon${Module}Plugin" lang-painless \
    ingest-common opensearch-grok opensearch-dissect joni jcodings
  module rank-eval "index.rankeval.RankEval${Module}Plugin" "" rank-eval-client
  module geo geo.GeoModulePlugin "" geo
  write_policies
}
[ "$modules_are" = within ] || lay_out_modules
for name in "${left_out[@]}"; do
  [ -d "$root/modules/$name" ] || die "LEAVE_OUT_MODULES: there is no module $name"
  rm -r "${root:?}/modules/$name"
done

# plugin_field ZIP KEY: a value from the descriptor of a plugin zip
plugin_field() { unzip -p "$1" plugin-descriptor.properties 2>/dev/null | sed -n "s/^$2=//p" | tr -d '\r ' || true; }

# opensearch-security 3.4.0 names the module rule-framework only to offer it rule attributes; that
# module is not on Maven and the server starts well without it. Its zip lacks commons-collections4,
# which checks of roles need.
mend_security_plugin() {
  local plugin=$root/plugins/opensearch-security jar
  [ -d "$root/modules/rule-framework" ] || sed -i '/^extended.plugins=/s/,rule-framework//' "$plugin/plugin-descriptor.properties"
  for jar in "$jars"/commons-collections4-*.jar; do cp "$jar" "$plugin/"; done
}

[ "$without_plugins" = yes ] || plugin_zips=("$jars"/opensearch-job-scheduler-*.zip "${plugin_zips[@]}")
for zip in "${plugin_zips[@]}"; do
  name=$(plugin_field "$zip" name) built_for=$(plugin_field "$zip" opensearch.version)
  [ -n "$name" ] || die "$zip has no plugin-descriptor.properties with a name: not an OpenSearch plugin zip"
  [ "$built_for" = "$version" ] || die "$zip is for OpenSearch $built_for, this is $version"
  rm -rf "${root:?}/plugins/$name"
  unzip -q "$zip" -d "$root/plugins/$name"
  if [ -d "$root/plugins/$name/config" ]; then mv "$root/plugins/$name/config" "$root/config/$name"; fi
  if [ "$name" = opensearch-security ]; then mend_security_plugin; fi
done

chmod -R a+rX,go-w "$root"
echo "$stamp" > "$root/.assembled"
rm -rf "$dest"
mv "$root" "$dest"
modules=("$dest"/modules/*) plugins=("$dest"/plugins/*)
echo "$dest: OpenSearch $version, ${#modules[@]} modules, plugins: ${plugins[*]##*/}"

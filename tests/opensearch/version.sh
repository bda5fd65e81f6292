#!/usr/bin/env bash
# version.sh all            the versions, one a line
# version.sh default        the one that is taken where none is named
# version.sh java VERSION   oldest and newest Java of it, such as `11 21` (`999` where no newest is known)
# version.sh modules VERSION
# What the table `versions` says; a version that is not in it is refused.
set -euo pipefail
table=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/versions
die() { echo "version.sh: $*" >&2; exit 1; }
lines() { sed '/^#/d; /^[[:space:]]*$/d' "$table"; }
all() { lines | awk '{ print $1 }'; }

question=${1:-} version=${2:-}
case $question in
  all) all; exit ;;
  default) lines | awk '$4 == "default" { print $1 }'; exit ;;
  java | modules) ;;
  *) die "usage: version.sh all|default|java VERSION|modules VERSION" ;;
esac
read -r _ java modules _ < <(lines | awk -v version="$version" '$1 == version') ||
  die "OS_VERSION $version: tests/opensearch/versions has $(all | paste -sd' ')"
case $question in
  java) newest=${java#*-}; echo "${java%-*} ${newest:-999}" ;;
  modules) echo "$modules" ;;
esac

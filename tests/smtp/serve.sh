#!/usr/bin/env bash
# serve.sh: runs the mail server of server.py on what standard input says. It needs aiosmtpd, which
# is installed from PyPI once, into ALERTLOOP_TEST_DIR (see node.sh --help).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
aiosmtpd=aiosmtpd==1.4.6
root=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}
environment=$root/python-${aiosmtpd/==/-}
die() { echo "serve.sh: $*" >&2; exit 1; }

install() {
  "$here/../../scripts/need" python3
  mkdir -p "$root"
  # several tests may come here at once
  exec {lock}>"$environment.lock"
  flock "$lock"
  [ ! -e "$environment/ready" ] || return 0
  rm -rf "$environment"
  python3 -m venv "$environment" >/dev/null \
    || { rm -rf "$environment"; "$here/../../scripts/need" ensurepip=python3-venv || true; python3 -m venv "$environment" >/dev/null; } \
    || die "python3 -m venv does not work; install it: apt-get install python3-venv"
  "$environment/bin/pip" -q --disable-pip-version-check install "$aiosmtpd" >&2 \
    || die "pip cannot install $aiosmtpd; it needs PyPI, or PIP_INDEX_URL"
  touch "$environment/ready"
}
[ -e "$environment/ready" ] || install
[ "${1:-}" != --install ] || exit 0
exec "$environment/bin/python" "$here/server.py"

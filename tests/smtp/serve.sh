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
  if [ -e "$environment/ready" ]; then exec {lock}>&-; return; fi
  rm -rf "$environment"
  # Debian has venv without what fills it; that is no command, so `need` takes it for missing
  python3 -c 'import ensurepip' 2>/dev/null || "$here/../../scripts/need" ensurepip=python3-venv
  python3 -m venv "$environment" >&2 || die "python3 -m venv does not work (its message is above)"
  "$environment/bin/pip" -q --disable-pip-version-check install "$aiosmtpd" >&2 \
    || die "pip cannot install $aiosmtpd; it needs PyPI, or PIP_INDEX_URL"
  touch "$environment/ready"
  exec {lock}>&- # or the server would hold it
}
[ -e "$environment/ready" ] || install
[ "${1:-}" != --install ] || exit 0
exec "$environment/bin/python" "$here/server.py"

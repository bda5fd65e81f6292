#!/usr/bin/env bash
# One address before several OpenSearch nodes, or before a secured one. See `gate.sh --help`.
set -euo pipefail
umask 077
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'HELP'
gate.sh COMMAND
  up PORT URL...                    listens on 127.0.0.1:PORT, gives each request to the next of the nodes
                                    at URL, and prints its own URL
  up PORT --access FOLDER URL...    the same for secured nodes: with TLS, as the admin whose
                                    certificates and password are in FOLDER (`node.sh access`)
  down PORT                         stops it

So the tests that know no login meet a store with the security plugin, and those that know one address a
cluster, each of whose nodes gets every third request. It is nginx, which is installed where it is missing.
Settings: ALERTLOOP_TEST_DIR, as for node.sh.
HELP
}
die() { echo "gate.sh: $*" >&2; exit 1; }

command=${1:-} port=${2:-}
case $command in
  up | down) [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || die "which port? see gate.sh --help" ;;
  -h | --help | help) usage; exit ;;
  *) usage >&2; exit 2 ;;
esac
gate=${ALERTLOOP_TEST_DIR:-${XDG_CACHE_HOME:-/var/tmp}/alertloop-test}/gate-$port
url=http://127.0.0.1:$port
nginx=$(PATH=$PATH:/usr/sbin command -v nginx || true)

stop() {
  local pid
  pid=$(cat "$gate/pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  rm -rf "$gate"
}
login() { # FOLDER
  local encoded
  encoded=$(printf 'admin:%s' "$(cat "$1/admin-password")" | base64 -w 0)
  cat <<CONFIG
      proxy_set_header Authorization "Basic $encoded";
      proxy_ssl_trusted_certificate $1/ca.pem;
      proxy_ssl_verify on;
      proxy_ssl_name localhost;
CONFIG
}
configuration() { # ACCESS URL...
  local access=$1 temporary
  shift
  # As root nginx would give its workers to a user who may not enter the folder.
  [ "$(id -u)" != 0 ] || echo "user root;"
  echo "daemon on; pid $gate/pid; worker_processes 1; events { worker_connections 4096; }"
  echo "http {"
  echo "  access_log off; client_max_body_size 0; large_client_header_buffers 4 64k;"
  for temporary in client_body proxy fastcgi uwsgi scgi; do echo "  ${temporary}_temp_path $gate/$temporary;"; done
  echo "  upstream nodes {"
  for node; do echo "    server ${node#*://} max_fails=0;"; done
  echo "    keepalive 64;"
  echo "  }"
  echo "  server {"
  echo "    listen 127.0.0.1:$port;"
  echo "    location / {"
  echo "      proxy_pass ${1%%://*}://nodes; proxy_http_version 1.1; proxy_set_header Connection '';"
  # what a node does not answer is the client's matter, as it is without the gate
  echo "      proxy_next_upstream off; proxy_read_timeout 300s;"
  [ -z "$access" ] || login "$access"
  echo "    }"
  echo "  }"
  echo "}"
}
up() {
  local access='' end=$((SECONDS + 10))
  if [ "${1:-}" = --access ]; then access=${2:?which folder?}; shift 2; fi
  [ $# -gt 0 ] || die "before which nodes? see gate.sh --help"
  if [ -z "$nginx" ]; then
    "$here/../../scripts/need" nginx
    nginx=$(PATH=$PATH:/usr/sbin command -v nginx)
  fi
  stop
  mkdir -p "$gate"
  configuration "$access" "$@" >"$gate/nginx.conf"
  # a service has no use for what its caller has open, such as a pipe that waits for its end
  "$nginx" -p "$gate" -e "$gate/log" -c "$gate/nginx.conf" </dev/null >/dev/null 2>&1 || die "nginx does not start; see $gate/log"
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    (( SECONDS < end )) || die "nginx does not listen; see $gate/log"
    sleep 0.1
  done
  echo "$url"
}
case $command in
  up) up "${@:3}" ;;
  down) stop ;;
esac

#!/usr/bin/env bash
# secure.sh DEST DATA_DIR ADMIN_PASSWORD
# For a DEST that was assembled with opensearch-security among its plugins (Maven's
# org.opensearch.plugin:opensearch-security:zip): makes self-signed certificates and the least
# security settings in DATA_DIR/config, once, before the first run.sh.
# The node is ready when https://localhost:PORT answers 200 to admin:ADMIN_PASSWORD.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "secure.sh: $*" >&2; exit 1; }

[ $# -eq 3 ] || die "usage: secure.sh DEST DATA_DIR ADMIN_PASSWORD"
dest=$(realpath "$1") dir=$(realpath -m "$2") password=$3
plugin=$dest/plugins/opensearch-security
[ -d "$plugin" ] || die "no opensearch-security in $dest; give assemble.sh its zip"
[ ! -e "$dir/config/certs" ] || die "$dir is set up already"
version=$(sed -n 's/^opensearch.version=//p' "$plugin/plugin-descriptor.properties")
OPENSEARCH_JAVA_HOME=$("$here/java.sh" "$version")
export OPENSEARCH_JAVA_HOME
"$here/run.sh" "$dest" init "$dir"

certs=$dir/config/certs
mkdir "$certs"
cd "$certs"
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=local-ca -keyout ca.key -out ca.pem 2>/dev/null
for who in node admin; do
  openssl req -newkey rsa:2048 -nodes -subj /CN=$who -keyout $who.key -out $who.csr 2>/dev/null
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out $who.pem 2>/dev/null \
    -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1")
  rm $who.csr
done

cat >> "$dir/config/opensearch.yml" <<SETTINGS
plugins.security.ssl.transport.pemcert_filepath: certs/node.pem
plugins.security.ssl.transport.pemkey_filepath: certs/node.key
plugins.security.ssl.transport.pemtrustedcas_filepath: certs/ca.pem
plugins.security.ssl.transport.enforce_hostname_verification: false
plugins.security.ssl.http.enabled: true
plugins.security.ssl.http.pemcert_filepath: certs/node.pem
plugins.security.ssl.http.pemkey_filepath: certs/node.key
plugins.security.ssl.http.pemtrustedcas_filepath: certs/ca.pem
plugins.security.nodes_dn: ["CN=node"]
plugins.security.authcz.admin_dn: ["CN=admin"]
plugins.security.allow_default_init_securityindex: true
plugins.security.restapi.roles_enabled: [all_access]
# each change of a role has every password checked anew, which at the default of 12 takes most of a second
plugins.security.password.hashing.bcrypt.rounds: 4
SETTINGS
hash=$(bash "$plugin/tools/hash.sh" -p "$password" 2>/dev/null | tail -n 1)
[[ $hash == \$2* ]] || die "hash.sh gave no bcrypt hash: $hash"
cat > "$dir/config/opensearch-security/internal_users.yml" <<USERS
_meta: {type: internalusers, config_version: 2}
admin: {hash: '$hash', reserved: true, backend_roles: [admin]}
USERS
# as shipped it gives every user the role own_index, which lets anybody write in bulk
cat > "$dir/config/opensearch-security/roles_mapping.yml" <<MAPPING
_meta: {type: rolesmapping, config_version: 2}
all_access: {reserved: false, backend_roles: [admin]}
MAPPING
# users may come with a client certificate too: its common name is the user's
sed -i '/^ *clientcert_auth_domain:/,/http_enabled:/ s/http_enabled: false/http_enabled: true/' "$dir/config/opensearch-security/config.yml"
chmod -R go-rwx "$certs" "$dir/config/opensearch-security"

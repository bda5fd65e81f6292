//! Why there is no TLS connection, in words that name the setting which mends it: the TLS library
//! does not know our settings. Its words are those of rustls 0.23; others pass as they are.

use super::Error;

/// The store's certificate, as we see it.
const PEER: &str = "invalid peer certificate: ";
/// Our certificate, or our TLS, as the store sees it.
const ALERT: &str = "received fatal alert: ";

/// Sorts the innermost cause of a call without an answer.
pub(super) fn unanswered(cause: String) -> Error {
    if let Some(why) = cause.strip_prefix(PEER) {
        return Error::Untrusted { why: why.to_owned(), mend: of_their_certificate(why) };
    }
    let mend = if let Some((_, alert)) = cause.split_once(ALERT) {
        of_alert(alert)
    } else if cause.contains("InvalidContentType") {
        "no TLS is spoken at that address: correct OPENSEARCH_URL, https or the port"
    } else {
        return Error::Unreachable(cause);
    };
    Error::NoTls { why: cause, mend }
}

fn of_their_certificate(why: &str) -> &'static str {
    let has = |part: &str| why.contains(part);
    if has("not valid for any names") {
        "the store needs one with a subjectAltName: a common name alone is not looked at"
    } else if has("NotValidForName") || has("not valid for name") {
        "correct OPENSEARCH_URL, which must be a name in the certificate"
    } else if has("xpired") {
        "the store needs a new one"
    } else if has("not valid yet") || has("NotValidYet") {
        "set the clock of this machine or of the store, or wait"
    } else if has("CaUsedAsEndEntity") {
        "the store shows an authority's certificate: give it one of its own that the CA signed"
    } else {
        "name the PEM file of its CA in ALERTLOOP_OPENSEARCH_CA"
    }
}

fn of_alert(alert: &str) -> &'static str {
    let is = |names: &[&str]| names.iter().any(|name| alert.starts_with(name));
    if is(&["CertificateRequired"]) {
        "the store asks for a client certificate: name one in ALERTLOOP_OPENSEARCH_CERT and _KEY"
    } else if is(&["CertificateExpired"]) {
        "our client certificate is too old: renew ALERTLOOP_OPENSEARCH_CERT and _KEY"
    } else if is(&["UnknownCA", "CertificateUnknown", "BadCertificate"]) {
        "the store does not take our client certificate: give ALERTLOOP_OPENSEARCH_CERT one that is valid and of a CA that it trusts, or none"
    } else if is(&["CertificateRevoked", "UnsupportedCertificate", "AccessDenied", "DecryptError"])
    {
        "the store refuses our client certificate: give ALERTLOOP_OPENSEARCH_CERT another"
    } else if is(&["UnrecognisedName", "UnrecognizedName"]) {
        "correct OPENSEARCH_URL: the store does not know itself by that name"
    } else {
        "the store and alertloop have no TLS in common; alertloop speaks 1.2 and 1.3"
    }
}

/// What is wrong with our own certificate, key or CA, as far as the library tells when it is
/// prepared.
pub(super) fn unprepared(cause: &str) -> String {
    if cause.contains("KeyMismatch") {
        return "ALERTLOOP_OPENSEARCH_KEY is not the key of ALERTLOOP_OPENSEARCH_CERT; to mend: name the two that were made together".to_owned();
    }
    format!(
        "cannot prepare the connection to the store: {cause}; to mend: see that ALERTLOOP_OPENSEARCH_CA, _CERT and _KEY name PEM files that are whole, the key without a passphrase"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_fault_names_what_mends_it() {
        for (cause, want) in [
            ("invalid peer certificate: UnknownIssuer", "ALERTLOOP_OPENSEARCH_CA"),
            (
                "invalid peer certificate: certificate not valid for name \"x\"; certificate is only valid for DnsName(\"y\")",
                "OPENSEARCH_URL",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"x\"; certificate is not valid for any names (according to its subjectAltName extension)",
                "subjectAltName",
            ),
            ("invalid peer certificate: certificate expired: verification…", "a new one"),
            ("invalid peer certificate: certificate not valid yet: …", "clock"),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "one of its own"),
            ("received fatal alert: CertificateRequired", "name one in ALERTLOOP_OPENSEARCH_CERT"),
            ("received fatal alert: CertificateExpired", "renew"),
            ("received fatal alert: CertificateUnknown", "ALERTLOOP_OPENSEARCH_CERT"),
            ("received fatal alert: AccessDenied", "another"),
            ("received fatal alert: ProtocolVersion", "1.2 and 1.3"),
            ("received corrupt message of type InvalidContentType", "OPENSEARCH_URL"),
            ("Connection refused (os error 111)", "refused"),
        ] {
            let fault = unanswered(cause.to_owned());
            assert!(fault.to_string().contains(want), "{fault}");
            assert_eq!(matches!(fault, Error::Unreachable(_)), want == "refused");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_told() {
        let told = unprepared("keys may not be consistent: KeyMismatch");
        assert!(told.contains("ALERTLOOP_OPENSEARCH_KEY is not"), "{told}");
        assert!(unprepared("x").contains("x; to mend"));
    }
}

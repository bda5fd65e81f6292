//! The secret that ntopng's webhook has in its body, for want of a header.

use std::borrow::Cow;

use serde::Deserialize;

use super::mend::mended;
use crate::{intake::repair, secrets::WebhookToken};

const NAME: &[u8] = b"sharedsecret";
/// What is larger is no batch of ntopng's, and not worth a repair for a stranger, in bytes.
const LONGEST_REPAIRED: usize = 256 << 10;

/// The first level of a body; of a body with several secrets none counts.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    sharedsecret: Option<Cow<'a, str>>,
}

/// What a body gives as its `sharedsecret`, if it can be a secret of ours.
#[must_use]
pub fn in_body(body: &[u8]) -> Option<WebhookToken> {
    // Nearly every body without one ends here.
    if !body.windows(NAME.len()).any(|part| part == NAME) {
        return None;
    }
    let read = |text: &str| {
        let head: Result<Head, _> = serde_json::from_str(text);
        head.map(|head| head.sharedsecret.and_then(|secret| secret.parse().ok()))
    };
    // What a flow says of itself stands in the body as it was on the wire: in any bytes.
    let text = repair::text(body);
    let told = read(&text).or_else(|fault| read(&mended(&text).ok_or(fault)?));
    let told = match told {
        Err(_) if body.len() <= LONGEST_REPAIRED => read(&repair::repair(body).text),
        told => told,
    };
    told.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_on_the_first_level_counts() {
        for (body, want) in [
            (
                r#"{"version":"0.2","sharedsecret":"0123456789abcdef","alerts":[]}"#,
                Some("0123456789abcdef"),
            ),
            (
                r#"{"alerts":[{"a":{"b":[1]}}],"sharedsecret":"0123456789abcde\u0066"}"#,
                Some("0123456789abcdef"),
            ),
            (
                r#"{"alerts":[{"alert_json":"{"a":"b"}"}],"sharedsecret":"0123456789abcdef"}"#,
                Some("0123456789abcdef"),
            ),
            (r#"{"sharedsecret":"a","sharedsecret":"b"}"#, None),
            (r#"{"alerts":[{"sharedsecret":"0123456789abcdef"}]}"#, None),
            (r#"[{"sharedsecret":"0123456789abcdef"}]"#, None),
            (r#"{"sharedsecret":["0123456789abcdef"]}"#, None),
            (r#"{"sharedsecret":null}"#, None),
            (r#"{"sharedsecret":"0123456789abcdef""#, None),
            ("sharedsecret=0123456789abcdef", None),
            (r#"{"sharedsecret":"short"}"#, None),
            ("", None),
        ] {
            let secret = in_body(body.as_bytes());
            assert_eq!(secret.as_ref().map(WebhookToken::expose), want, "{body}");
        }
    }

    #[test]
    fn what_a_flow_has_in_it_does_not_hide_the_secret() {
        for info in [&b"caf\xe9"[..], b"a\tb", b"a\x00b", b"a\\xb", b"a\\ud800b", b"\"GET /\""] {
            let body = [
                &br#"{"version":"0.2","sharedsecret":"0123456789abcdef","alerts":[{"info":""#[..],
                info,
                br#""}]}"#,
            ]
            .concat();
            let secret = in_body(&body);
            let shown = String::from_utf8_lossy(info);
            assert_eq!(
                secret.as_ref().map(WebhookToken::expose),
                Some("0123456789abcdef"),
                "{shown}"
            );
        }
        let twice = b"{\"sharedsecret\":\"0123456789abcdef\",\"sharedsecret\":\"0123456789abcdef\",\"x\":\"\xe9\t\"}";
        assert!(in_body(twice).is_none());
        let nested = b"{\"alerts\":[{\"sharedsecret\":\"0123456789abcdef\",\"x\":\"\xe9\t\"}]}";
        assert!(in_body(nested).is_none());
    }
}

//! The secret that ntopng's webhook has in its body, for want of a header.

use std::borrow::Cow;

use serde::Deserialize;

use super::mend::mended;
use crate::secrets::WebhookToken;

/// The first level of a body; of a body with several secrets none counts.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    sharedsecret: Option<Cow<'a, str>>,
}

/// What a body gives as its `sharedsecret`, if it can be a secret of ours.
#[must_use]
pub fn in_body(body: &[u8]) -> Option<WebhookToken> {
    let text = str::from_utf8(body).ok()?;
    // Nearly every body without one ends here.
    if !text.contains("sharedsecret") {
        return None;
    }
    let read = |text: &str| {
        let head: Result<Head, _> = serde_json::from_str(text);
        head.map(|head| head.sharedsecret.and_then(|secret| secret.parse().ok()))
    };
    read(text).or_else(|fault| read(&mended(text).ok_or(fault)?)).ok()?
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
}

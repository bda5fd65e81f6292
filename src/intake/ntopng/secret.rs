//! The secret that ntopng's webhook has in its body, for want of a header.

use std::borrow::Cow;

use serde::Deserialize;

use super::mend::mended;

/// The first level of a body; of a body with several secrets none counts.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    sharedsecret: Option<Cow<'a, str>>,
}

/// What a body gives as its `sharedsecret`.
#[must_use]
pub fn in_body(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    // Nearly every body without one ends here.
    if !text.contains("sharedsecret") {
        return None;
    }
    let read = |text: &str| {
        let head: Result<Head, _> = serde_json::from_str(text);
        head.map(|head| head.sharedsecret.map(Cow::into_owned))
    };
    match read(text) {
        Ok(secret) => secret,
        Err(_) => read(&mended(text)?).ok()?,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_on_the_first_level_counts() {
        for (body, want) in [
            (r#"{"version":"0.2","sharedsecret":"s","alerts":[]}"#, Some("s")),
            (r#"{"alerts":[{"a":{"b":[1]}}],"sharedsecret":"s\u0073"}"#, Some("ss")),
            (r#"{"alerts":[{"alert_json":"{"a":"b"}"}],"sharedsecret":"s"}"#, Some("s")),
            (r#"{"sharedsecret":"a","sharedsecret":"b"}"#, None),
            (r#"{"alerts":[{"sharedsecret":"s"}]}"#, None),
            (r#"[{"sharedsecret":"s"}]"#, None),
            (r#"{"sharedsecret":["s"]}"#, None),
            (r#"{"sharedsecret":null}"#, None),
            (r#"{"sharedsecret":"s""#, None),
            ("sharedsecret=s", None),
            ("", None),
        ] {
            assert_eq!(in_body(body.as_bytes()).as_deref(), want, "{body}");
        }
    }
}

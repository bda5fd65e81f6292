//! Secrets that senders put into their bodies, such as ntopng's `sharedsecret`, are masked before
//! anybody sees a body.
//!
//! It looks at the bytes, not at parsed JSON: a body is shown as it came, and many that have to be
//! shown are no JSON, or only the head of it. So it knows a name, then `:` or `=`, then a value,
//! under whatever quotes: plain, escaped (JSON inside a JSON string, at any depth), as HTML or as
//! part of an address. In doubt it masks too much: a value without an end is masked to the end.

use std::{borrow::Cow, ops::Range};

/// Names whose values are secrets, in small letters: ntopng's, and our own header.
const NAMES: [&[u8]; 2] = [b"sharedsecret", b"x-alertloop-token"];
/// Our query parameter, and what else it is likely to be called, where an address stands in a body.
const PARAMETERS: [&[u8]; 5] = [b"token=", b"access_token=", b"apikey=", b"api_key=", b"api-key="];
/// What quotation marks look like; the two of `u` need a backslash before them.
const MARKS: [&[u8]; 9] =
    [b"\"", b"'", b"u0022", b"u0027", b"&quot;", b"&#34;", b"&#39;", b"%22", b"%27"];
/// What stands between a name and its value.
const SEPARATORS: [&[u8]; 4] = [b":", b"=", b"%3a", b"%3d"];

/// The body with `***` in the place of each secret; all else stays as it is.
#[must_use]
pub fn masked(body: &[u8]) -> Cow<'_, [u8]> {
    let mut output = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while at < body.len() {
        let Some((secret, mask)) = secret_at(body, at) else {
            at += 1;
            continue;
        };
        output.extend_from_slice(&body[copied..secret.start]);
        output.extend_from_slice(mask);
        copied = secret.end;
        at = secret.end;
    }
    if output.is_empty() {
        return Cow::Borrowed(body);
    }
    output.extend_from_slice(&body[copied..]);
    Cow::Owned(output)
}

/// The value of the secret whose name begins at `at`, and what stands for it.
fn secret_at(body: &[u8], at: usize) -> Option<(Range<usize>, &'static [u8])> {
    // How the names begin: nearly every place ends here.
    if !matches!(body[at], b's' | b'S' | b'x' | b'X' | b't' | b'T' | b'a' | b'A') {
        return None;
    }
    let rest = &body[at..];
    let found = if let Some(name) = NAMES.iter().find(|name| begins_with(rest, name)) {
        value_after(body, at + name.len())?
    } else if at > 0 && b"?&;".contains(&body[at - 1]) {
        let parameter = PARAMETERS.iter().find(|parameter| begins_with(rest, parameter))?;
        let start = at + parameter.len();
        (start..bare_end(body, start), &b"***"[..])
    } else {
        return None;
    };
    Some(found).filter(|(secret, _)| !secret.is_empty())
}

fn value_after(body: &[u8], mut at: usize) -> Option<(Range<usize>, &'static [u8])> {
    if let Some(quote) = Quote::at(body, at) {
        at += quote.len();
    }
    at = past_blanks(body, at);
    let separator = SEPARATORS.iter().find(|one| begins_with(&body[at..], one))?;
    let is_json = separator.starts_with(b":");
    at = past_blanks(body, at + separator.len());
    if let Some(quote) = Quote::at(body, at) {
        let start = at + quote.len();
        return Some((start..quote.end(body, start), b"***"));
    }
    let end = match body.get(at)? {
        b'{' | b'[' => bracketed_end(body, at),
        _ => bare_end(body, at),
    };
    // So that JSON stays JSON.
    Some((at..end, if is_json { b"\"***\"" } else { b"***" }))
}

/// A quotation mark, with the backslashes before it.
#[derive(Clone, Copy)]
struct Quote {
    slashes: usize,
    mark: &'static [u8],
}

impl Quote {
    fn at(body: &[u8], at: usize) -> Option<Self> {
        let slashes = slashes(body, at);
        let mark = MARKS.into_iter().find(|mark| begins_with(&body[at + slashes..], mark))?;
        (slashes > 0 || !mark.starts_with(b"u")).then_some(Self { slashes, mark })
    }

    const fn len(self) -> usize {
        self.slashes + self.mark.len()
    }

    /// Where the text ends that begins at `start`, after this mark: before the same mark, under as
    /// many backslashes. An escaped mark in the text has more of them, by the rules of escaping:
    /// at depth `d`, where a mark has 2^d - 1, each backslash of the text has become 2^(d+1).
    fn end(self, body: &[u8], start: usize) -> usize {
        let escaped = 2 * (self.slashes + 1);
        let mut at = start;
        while at < body.len() {
            let before = slashes(body, at);
            at += before;
            let is_end = before >= self.slashes && (before - self.slashes).is_multiple_of(escaped);
            if is_end && begins_with(&body[at..], self.mark) {
                return at - self.slashes;
            }
            at += 1;
        }
        body.len()
    }
}

/// The end of an object or a list: what a secret may hold is unknown, so all of it goes.
fn bracketed_end(body: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < body.len() {
        if let Some(quote) = Quote::at(body, at) {
            at += quote.len();
            at = quote.end(body, at) + quote.len();
            continue;
        }
        match body[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += slashes(body, at).max(1);
    }
    body.len()
}

/// The end of a value without quotes.
fn bare_end(body: &[u8], start: usize) -> usize {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",&#\"'<>}])\\".contains(byte);
    body[start..].iter().position(is_end).map_or(body.len(), |length| start + length)
}

/// Past white space, also where it is escaped, as in JSON inside a string.
fn past_blanks(body: &[u8], mut at: usize) -> usize {
    loop {
        let slashes = slashes(body, at);
        match body.get(at + slashes) {
            Some(b' ' | b'\t' | b'\r' | b'\n' | b'+') if slashes == 0 => at += 1,
            Some(b'n' | b'r' | b't') if slashes > 0 => at += slashes + 1,
            Some(b'%') if slashes == 0 && body[at..].starts_with(b"%20") => at += 3,
            _ => return at,
        }
    }
}

/// How many backslashes stand at `at`.
fn slashes(body: &[u8], at: usize) -> usize {
    body[at.min(body.len())..].iter().take_while(|byte| **byte == b'\\').count()
}

fn begins_with(bytes: &[u8], lower: &[u8]) -> bool {
    bytes.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(body: &str) -> String {
        String::from_utf8(masked(body.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        for (body, want) in [
            (r#"{"sharedsecret":"s3cret","alerts":[]}"#, r#"{"sharedsecret":"***","alerts":[]}"#),
            (r#"{"a":[{"SharedSecret" : "s3cret"}]}"#, r#"{"a":[{"SharedSecret" : "***"}]}"#),
            ("{\"sharedsecret\":\n\t\"s3cret\"}", "{\"sharedsecret\":\n\t\"***\"}"),
            (r#"{"sharedsecret":"s3\"cret\\","x":1}"#, r#"{"sharedsecret":"***","x":1}"#),
            (r#"{"sharedsecret":12345,"x":1}"#, r#"{"sharedsecret":"***","x":1}"#),
            (
                r#"{"sharedsecret":{"a":"}s3cret","b":[1]},"x":1}"#,
                r#"{"sharedsecret":"***","x":1}"#,
            ),
            (r#"{"sharedsecret":["s3cret"#, r#"{"sharedsecret":"***""#),
            // Cut off, or never JSON.
            (r#"{"sharedsecret":"s3cr"#, r#"{"sharedsecret":"***"#),
            ("sharedsecret: s3cret and more", "sharedsecret: \"***\" and more"),
            ("a=1&sharedsecret=s3cret&b=2", "a=1&sharedsecret=***&b=2"),
            ("{'sharedsecret': 's3cret'", "{'sharedsecret': '***'"),
            ("%7B%22sharedsecret%22%3A%22s3cret%22%7D", "%7B%22sharedsecret%22%3A%22***%22%7D"),
            (
                "{&quot;sharedsecret&quot;: &quot;s3cret&quot;}",
                "{&quot;sharedsecret&quot;: &quot;***&quot;}",
            ),
            (
                r"{\u0022sharedsecret\u0022:\u0022s3cret\u0022}",
                r"{\u0022sharedsecret\u0022:\u0022***\u0022}",
            ),
            // Twice, and our own.
            (
                r#"[{"sharedsecret":"a"},{"sharedsecret":"b"}]"#,
                r#"[{"sharedsecret":"***"},{"sharedsecret":"***"}]"#,
            ),
            ("X-Alertloop-Token: s3cret", "X-Alertloop-Token: \"***\""),
            ("http://h/mapi/alert?a=b&token=s3cret#x", "http://h/mapi/alert?a=b&token=***#x"),
            ("http://h/?API_KEY=s3cret", "http://h/?API_KEY=***"),
        ] {
            assert_eq!(text(body), want, "{body}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for body in [
            "",
            "no secret",
            r#"{"alert":{"alert":"a"}}"#,
            r#"{"sharedsecret":"","x":"sharedsecret"}"#,
            r#"{"sharedsecrets_are":"bad","mytoken=":1}"#,
            "sharedsecret",
            "sharedsecret:",
        ] {
            assert!(matches!(masked(body.as_bytes()), Cow::Borrowed(_)), "{body}: {}", text(body));
        }
        assert_eq!(masked(b"\xff sharedsecret=\xfe "), &b"\xff sharedsecret=*** "[..]);
    }

    #[test]
    fn many_backslashes_take_no_longer_than_the_body_is() {
        let begun = std::time::Instant::now();
        let many = "\\".repeat(1 << 20);
        for body in [format!("sharedsecret:[{many}"), format!("sharedsecret:\"{many}"), many] {
            assert!(masked(body.as_bytes()).len() <= body.len());
        }
        assert!(begun.elapsed().as_secs() < 10);
    }

    proptest! {
        /// JSON in a string in JSON, and so on: the secret is gone, and all else is still there.
        #[test]
        fn at_any_depth_and_whatever_the_secret(secret in "[ -~]{1,12}Zq[\"\\\\a-z{}]{0,6}", depth in 0_usize..4) {
            let mut json = json!({"before": "a\\\"", "sharedsecret": secret, "after": "\"b\\"});
            let mut want = json!({"before": "a\\\"", "sharedsecret": "***", "after": "\"b\\"});
            for _ in 0..depth {
                json = json!({"text": json.to_string(), "n": 1});
                want = json!({"text": want.to_string(), "n": 1});
            }
            let got: Value = serde_json::from_str(&text(&json.to_string())).unwrap();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn no_body_makes_it_stumble(body in prop::collection::vec(prop::sample::select(
            b"sharedsecret:=\"'\\{}[]u0022&quot;%22 \n\xff".to_vec()), 0..80)) {
            for body in [body.clone(), [b"sharedsecret", body.as_slice()].concat()] {
                prop_assert!(masked(&body).len() <= body.len() + 5 * 80);
            }
        }
    }
}

//! Known secrets, and every form in which one might be seen.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// A secret, and the user that it belongs to, where it is a password.
pub struct Secret {
    pub name: &'static str,
    pub user: Option<&'static str>,
    pub value: String,
}

impl Secret {
    /// One of letters that need no escape: such travel in a header or an address.
    pub fn plain(name: &'static str, value: &str) -> Self {
        Self { name, user: None, value: value.to_owned() }
    }

    pub fn of_user(name: &'static str, user: &'static str, value: &str) -> Self {
        Self { user: Some(user), ..Self::plain(name, value) }
    }

    /// The texts that give it away, each with what it is.
    pub fn forms(&self) -> Vec<(&'static str, String)> {
        let value = self.value.as_str();
        let json = serde_json::Value::from(value).to_string();
        let json = json[1..json.len() - 1].to_owned();
        let debug = format!("{value:?}");
        let of_byte =
            |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
        let hex: String = value.bytes().flat_map(of_byte).flatten().collect();
        let every = |byte: u8| format!("%{byte:02X}");
        let percent: String = value
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                byte => every(byte),
            })
            .collect();
        let mut forms = vec![
            ("as it is", value.to_owned()),
            ("in JSON", json.clone()),
            ("in JSON in JSON", json.replace('\\', "\\\\").replace('"', "\\\"")),
            ("as Debug", debug[1..debug.len() - 1].to_owned()),
            ("as a URL", percent.clone()),
            ("as a form", url::form_urlencoded::byte_serialize(value.as_bytes()).collect()),
            ("as each byte of a URL", value.bytes().map(every).collect()),
            ("in hex", hex.clone()),
            ("in HEX", hex.to_uppercase()),
            ("reversed", value.chars().rev().collect()),
            ("reversed in JSON", json.chars().rev().collect()),
        ];
        for before in 0..3 {
            let (standard, url) = in_base64(value.as_bytes(), before);
            forms.extend([("in base64", standard), ("in base64 for URLs", url)]);
        }
        if let Some(user) = self.user {
            forms.push(("as a login", BASE64_STANDARD.encode(format!("{user}:{value}"))));
            forms
                .push(("as a login of SMTP", BASE64_STANDARD.encode(format!("\0{user}\0{value}"))));
        }
        forms.sort_by(|a, b| a.1.cmp(&b.1));
        forms.dedup_by(|a, b| a.1 == b.1);
        forms
    }
}

/// What base64 has of these bytes alone, where so many stand before them and any after them; with the
/// usual letters, and with those of URLs.
fn in_base64(bytes: &[u8], before: usize) -> (String, String) {
    let whole = BASE64_STANDARD.encode([&vec![0; before], bytes].concat());
    // A letter has six bits; the first and the last may belong to a neighbour.
    let first = (before * 8).div_ceil(6);
    let last = (before + bytes.len()) * 8 / 6;
    let standard = whole[first..last].to_owned();
    let url = standard.replace('+', "-").replace('/', "_");
    (standard, url)
}

/// Everything that was seen, and where.
#[derive(Default)]
pub struct Seen(Vec<(String, String)>);

impl Seen {
    pub fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// What gives a secret away: its name, its form, and the place.
    pub fn leaks(&self, secrets: &[Secret]) -> Vec<String> {
        let mut leaks = Vec::new();
        for secret in secrets {
            for (form, text) in secret.forms() {
                for (place, seen) in &self.0 {
                    if let Some(at) = seen.find(&text) {
                        let from = seen.floor_char_boundary(at.saturating_sub(160));
                        let to = seen.ceil_char_boundary((at + text.len() + 40).min(seen.len()));
                        let around = &seen[from..to];
                        let Secret { name, .. } = secret;
                        leaks.push(format!("{name} {form}, in {place}: …{around}…"));
                    }
                }
            }
        }
        leaks
    }

    /// Fails where one is seen.
    pub fn has_none_of(&self, secrets: &[Secret]) {
        let leaks = self.leaks(secrets);
        let all = leaks.join("\n\n");
        assert!(leaks.is_empty(), "{} places give secrets away:\n{all}", leaks.len());
    }
}

#[test]
fn each_form_of_a_secret_is_found() {
    let secret = Secret::of_user("a password", "ann", "pass\"w\\ord&/ü-9");
    assert!(secret.forms().len() >= 12, "{:?}", secret.forms());
    for text in [
        "x pass\"w\\ord&/ü-9 y".to_owned(),
        r#"{"a": "pass\"w\\ord&/ü-9"}"#.to_owned(),
        "a=pass%22w%5Cord%26%2F%C3%BC-9".to_owned(),
        "706173732277 706173732277 7061737322775c6f7264262fc3bc2d39".to_owned(),
        "9-ü/&dro\\w\"ssap".to_owned(),
        BASE64_STANDARD.encode("pass\"w\\ord&/ü-9"),
        BASE64_STANDARD.encode("ann:pass\"w\\ord&/ü-9"),
        BASE64_STANDARD.encode("xpass\"w\\ord&/ü-9"),
        BASE64_STANDARD.encode("any text before pass\"w\\ord&/ü-9 and after"),
        BASE64_STANDARD.encode("\0ann\0pass\"w\\ord&/ü-9"),
    ] {
        let mut seen = Seen::default();
        seen.add("a log", text.clone());
        assert!(!seen.leaks(std::slice::from_ref(&secret)).is_empty(), "{text}");
    }
    let mut seen = Seen::default();
    seen.add("a log", "pass w ord, and other words: cGFzcw==");
    assert_eq!(seen.leaks(&[secret]), Vec::<String>::new());
}

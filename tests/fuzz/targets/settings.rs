//! What operators write (settings, conditions, callbacks, credentials), and what requests say beside
//! their bodies.

use std::{hint::black_box, net::SocketAddr, sync::LazyLock};

use alertloop::{
    condition::{
        file::{self, Defaults},
        import, write,
    },
    config::curlrc as credentials,
    http::{access::Access, prefer},
    intake::Encoding,
    secrets::Login,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::templates;

const TOKEN: &str = "a-token-that-no-case-has.0815";
const DEFAULTS: Defaults<'_> =
    Defaults { index_pattern: "arkime_sessions3-*", time_field: "firstPacket" };
/// As a closed service has it: a secret for alerts, a login for the rest.
static CLOSED: LazyLock<Access> = LazyLock::new(|| {
    let admin = Login { user: "admin".to_owned(), password: TOKEN.to_owned().into() };
    Access::new(vec![TOKEN.parse().unwrap()], false, Some(admin))
});

/// Who has no secret comes in nowhere, whatever the headers and the query are.
pub fn headers(text: &[u8]) {
    let mut lines = text.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| str::from_utf8(line).ok());
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let knows = text.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    assert!(knows || CLOSED.token_of(&headers, query).is_none(), "a stranger may post");
    for peer in ["127.0.0.1:9", "192.0.2.7:9", "[::1]:9"] {
        let peer: SocketAddr = peer.parse().unwrap();
        assert!(knows || CLOSED.caller(&headers, peer.ip()).is_err(), "a stranger may read");
    }
    if let Some(wait) = prefer::wait(&headers) {
        assert!(wait <= prefer::LONGEST, "{wait:?}");
    }
    for value in headers.get_all("content-encoding") {
        black_box(Encoding::of(value.to_str().unwrap_or_default()));
    }
}

/// A fault does not repeat what stands in the file.
pub fn curlrc(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match credentials::parse(&text) {
        Ok(read) => {
            let Some(login) = &read.login else { return };
            assert!(!login.user.is_empty());
            let password = login.password.expose();
            let told = format!("{read:?}");
            // A short one may stand in any word, and any in the user's name.
            let may_stand = password.len() < 12 || login.user.contains(password);
            assert!(may_stand || !told.contains(password), "{told}");
        }
        Err(fault) => {
            let fault = fault.to_string();
            assert!(fault.starts_with("line ") && fault.len() < 80, "{fault}");
        }
    }
}

/// A condition that is read is written so that it is read as the same; its monitor is JSON without
/// what a template of OpenSearch would run.
pub fn condition(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let Ok(condition) = file::read(&text, "name", DEFAULTS) else { return };
    let written = write::file(&condition, &["a remark\nof two lines".to_owned()]);
    let again = file::read(&written, "name", DEFAULTS);
    assert_eq!(again.as_ref(), Ok(&condition), "{written}");
    black_box((condition.explained(), condition.monitor("channel")));
}

/// Callbacks or faults; neither shows a secret of the seed.
pub fn callbacks(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let told = match templates::read(&text) {
        Ok(callbacks) => format!("{callbacks:?}"),
        Err(faults) => faults.join("\n"),
    };
    // Where a case moved one to a place that holds none, it is none.
    let is_in_place = |name: &str, secret: &str| {
        text.lines().any(|line| line.starts_with(name) && line.ends_with(&format!("\"{secret}\"")))
            && text.matches(secret).count() == 1
    };
    for (name, secret) in [
        ("bearer = ", "a-token-of-the-hook"),
        ("signature_key = ", "a-key-that-signs"),
        ("password = ", "a-password-of-mail"),
        ("shared_secret = ", "a-secret-that-is-shared"),
    ] {
        assert!(!is_in_place(name, secret) || !told.contains(secret), "{secret}: {told}");
    }
}

/// What Graylog says is a condition that can be read back, or a reason.
pub fn import(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for one in import::read(&text, DEFAULTS).into_iter().flatten() {
        let name = import::file_name(&one.title);
        assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'), "{name}");
        let Ok(condition) = one.condition else { continue };
        let written = write::file(&condition, &one.notes);
        let again = file::read(&written, "x", DEFAULTS);
        assert_eq!(again.as_ref(), Ok(&condition), "{written}");
    }
}

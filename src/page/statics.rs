//! Style sheet, script and icon: compiled in, packed at the first use, and named after their content,
//! so that a browser keeps them for ever and asks anew after an upgrade.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// A file.
struct File {
    name: &'static str,
    kind: &'static str,
    hash: String,
    plain: &'static [u8],
    packed: Bytes,
}

static FILES: LazyLock<[File; 3]> = LazyLock::new(|| {
    [
        ("page.css", "text/css; charset=utf-8", include_bytes!("static/page.css").as_slice()),
        ("page.js", "text/javascript; charset=utf-8", include_bytes!("static/page.js").as_slice()),
        ("icon.svg", "image/svg+xml", include_bytes!("static/icon.svg").as_slice()),
    ]
    .map(|(name, kind, plain)| File {
        name,
        kind,
        hash: blake3::hash(plain).to_hex()[..16].to_owned(),
        plain,
        packed: packed(plain),
    })
});

fn packed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Into memory: it cannot fail, and an empty answer would be seen at once.
    encoder.write_all(plain).ok();
    encoder.finish().unwrap_or_default().into()
}

/// Where a file is, from the root on: `static/HASH/NAME`.
#[must_use]
pub fn path(name: &str) -> String {
    let file = FILES.iter().find(|file| file.name == name);
    file.map_or_else(String::new, |file| format!("static/{}/{name}", file.hash))
}

/// A file, for anybody: it tells nothing.
pub async fn get(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name && file.hash == hash) else {
        return (StatusCode::NOT_FOUND, "no such file; load the page again\n").into_response();
    };
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let takes_gzip = accepts.is_some_and(|accepts| {
        accepts.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == "gzip")
    });
    let mut answer = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ]
    .into_response();
    if takes_gzip {
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        *answer.body_mut() = file.packed.clone().into();
    } else {
        *answer.body_mut() = Bytes::from_static(file.plain).into();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_layout_names_is_there_and_small() {
        let layout = include_str!("templates/layout.html");
        for file in FILES.iter() {
            assert!(layout.contains(&format!("frame.file(\"{}\")", file.name)), "{}", file.name);
            assert!(path(file.name).starts_with("static/"));
            assert!(file.packed.len() < 10_000 && file.packed.len() > 50, "{}", file.packed.len());
        }
        assert_eq!(layout.matches("frame.file(").count(), FILES.len());
        assert_eq!(path("other.js"), "");
    }
}

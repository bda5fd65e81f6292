//! A body as people may see it: unpacked, as text where it is text, and without its secrets.

use std::{borrow::Cow, io::Read};

use super::{Encoding, masked::masked, repair};

/// A body to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// UTF-8, or UTF-16 that has become UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

/// What a body says, up to `limit` bytes of it: what is packed is unpacked first, since a secret
/// could not be seen in it, and as far as it goes, since it may be cut off.
#[must_use]
pub fn shown(encoding: Encoding, body: &[u8], limit: usize) -> Shown {
    let plain = unpacked(encoding, body, limit);
    let plain = match &*plain {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => match repair::text(&plain) {
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        },
        _ => plain,
    };
    match String::from_utf8(masked(&plain).into_owned()) {
        Ok(text) => Shown::Text(text),
        Err(bytes) => Shown::Bytes(bytes.into_bytes()),
    }
}

fn unpacked(encoding: Encoding, packed: &[u8], limit: usize) -> Cow<'_, [u8]> {
    let is_text = || str::from_utf8(packed).is_ok();
    // The head of a body that was too large does not say how it is packed; others may forget to.
    let encoding = match (encoding, packed) {
        (_, [0x1F, 0x8B, ..]) => Encoding::Gzip,
        (Encoding::Identity, [0x78, 0x01 | 0x5E | 0x9C | 0xDA, ..]) if !is_text() => {
            Encoding::Deflate
        }
        (encoding, _) => encoding,
    };
    let mut unpacker: Box<dyn Read + '_> = match encoding {
        Encoding::Identity => return Cow::Borrowed(packed),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Encoding::Deflate => Box::new(flate2::read::ZlibDecoder::new(packed)),
    };
    let mut plain = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    // A fault is the end of what can be unpacked.
    unpacker.by_ref().take(most).read_to_end(&mut plain).ok();
    if plain.is_empty() { Cow::Borrowed(packed) } else { Cow::Owned(plain) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: usize = 1 << 20;
    const BODY: &str = r#"{"sharedsecret":"s3cret","a":1}"#;
    const MASKED: &str = r#"{"sharedsecret":"***","a":1}"#;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        gzip.write_all(body).unwrap();
        gzip.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(body).unwrap();
        zlib.finish().unwrap()
    }

    #[test]
    fn a_body_is_shown_as_text_without_its_secret_however_it_is_packed() {
        let utf16: Vec<u8> =
            std::iter::once(0xFEFF).chain(BODY.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for (encoding, body) in [
            (Encoding::Identity, BODY.as_bytes().to_vec()),
            (Encoding::Gzip, gzip(BODY.as_bytes())),
            (Encoding::Identity, gzip(BODY.as_bytes())),
            (Encoding::Deflate, zlib(BODY.as_bytes())),
            (Encoding::Identity, zlib(BODY.as_bytes())),
            (Encoding::Gzip, BODY.as_bytes().to_vec()),
            (Encoding::Identity, utf16),
        ] {
            assert_eq!(
                shown(encoding, &body, LIMIT),
                Shown::Text(MASKED.to_owned()),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn what_is_cut_off_is_shown_as_far_as_it_goes() {
        let whole = gzip(format!("{BODY}{}", "x".repeat(60_000)).as_bytes());
        let Shown::Text(text) = shown(Encoding::Identity, &whole[..4 << 10], LIMIT) else {
            panic!("text");
        };
        assert!(text.starts_with(MASKED) && text.len() > 1_000, "{text}");
        let long = gzip(&vec![b'x'; LIMIT + 1]);
        assert_eq!(shown(Encoding::Gzip, &long, LIMIT), Shown::Text("x".repeat(LIMIT)));
    }

    #[test]
    fn what_is_no_text_stays_bytes() {
        let body = b"\xff\x00sharedsecret=s3cret";
        assert_eq!(
            shown(Encoding::Identity, body, LIMIT),
            Shown::Bytes(b"\xff\x00sharedsecret=***".to_vec())
        );
        let noise = b"\x1f\x8b\x08noise".to_vec();
        assert_eq!(shown(Encoding::Gzip, &noise, LIMIT), Shown::Bytes(noise));
    }
}

//! When a certificate ends. Only this is read of it; whether it is a good one is for rustls to say.

use jiff::{Timestamp, civil, tz::TimeZone};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the first certificate of a PEM file ends (`notAfter`, RFC 5280, 4.1); `None` where that cannot
/// be read.
#[must_use]
pub fn expiry(pem: &[u8]) -> Option<Timestamp> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    not_after(&certificate)
}

fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (tag, text, _) = element(element(validity)?.2)?;
    time(tag, str::from_utf8(text).ok()?)
}

fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year = number(0, 2)?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let two = |at: usize| i8::try_from(number(rest + at, rest + at + 2)?).ok();
    let at = civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

/// The content of an element with this tag, and what follows it.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        short @ ..=0x7f => (short, rest),
        // Eight bytes are more than any certificate needs.
        long @ 0x81..=0x88 => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            let add = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add(usize::from(*byte));
            (bytes.iter().try_fold(0, add)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_real_certificate_is_read() {
        let pem = include_bytes!("../../tests/captured/other-ca.pem");
        let end = expiry(pem).map(|end| end.to_string());
        assert_eq!(end.as_deref(), Some("2126-10-28T16:07:47Z"));
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        for (tag, text, want) in [
            (UTC_TIME, "261122053000Z", Some("2026-11-22T05:30:00Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20610101000000Z", Some("2061-01-01T00:00:00Z")),
            (UTC_TIME, "261322053000Z", None),
            (UTC_TIME, "261122053000", None),
            (UTC_TIME, "26112205300\u{e9}Z", None),
            (GENERALIZED_TIME, "261122053000Z", None),
            (SEQUENCE, "261122053000Z", None),
            (UTC_TIME, "", None),
        ] {
            assert_eq!(time(tag, text).map(|at| at.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_cut_or_damaged_certificate_has_no_end_and_does_no_harm() {
        let pem = include_bytes!("../../tests/captured/other-ca.pem");
        let der = CertificateDer::from_pem_slice(pem).unwrap();
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
        for place in 0..der.len().min(300) {
            let mut der = der.to_vec();
            der[place] ^= 0xff;
            let _any = not_after(&der);
        }
        assert_eq!(not_after(&[0x30, 0x88, 255, 255, 255, 255, 255, 255, 255, 255, 0]), None);
    }
}

//! The one place that asks what time it is; everything else takes the time as an argument.

use jiff::Timestamp;

/// Now, cut to the milliseconds that records hold.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Timestamp {
    let millis = Timestamp::now().as_millisecond();
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

//! How much is done: a little in `scripts/test`, a lot in `scripts/torture`.

use std::time::Duration;

/// What a run of `scripts/torture --minutes N` may take in all; `None` in `scripts/test`.
pub fn minutes() -> Option<f64> {
    std::env::var("ALERTLOOP_TORTURE_MINUTES").ok()?.parse().ok()
}

/// How often something is done: `short`, or `long` in a torture of 20 minutes, and in another one
/// as much more or less.
pub fn times(short: u32, long: u32) -> u32 {
    let Some(minutes) = minutes() else { return short };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let scaled = (f64::from(long) * minutes / 20.0).round() as u32;
    scaled.max(short)
}

/// How long something goes on: `short`, or this share of the torture's minutes.
pub fn span(short: Duration, share: f64) -> Duration {
    minutes().map_or(short, |minutes| Duration::from_secs_f64(minutes * 60.0 * share))
}

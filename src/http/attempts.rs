//! What guessing costs. Pure but for its lock: the time comes in.
//!
//! Each address may guess [`AT_ONCE`] times at once, and once more every [`EACH`]. The same wrong
//! credential again is no guess, but a script with an old password: it never holds anybody up. When
//! an address has used up its guesses, a login from it is not looked at until it has another one, so
//! that not even the right one tells a guesser anything. An intake secret is always looked at, and a
//! right one admits at once: it has 16 characters at least (ours has 256 bits), and alerts must not
//! be lost because somebody guesses from behind the same router. The answer to a wrong one waits.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::address::known_by;

/// How often somebody may guess at once.
pub const AT_ONCE: u32 = 10;
/// How long it takes until they may guess once more.
pub const EACH: Duration = Duration::from_secs(30);
/// How many addresses are remembered: those with the most guesses.
const ADDRESSES: usize = 10_000;
/// How many wrong credentials of an address are known again.
const KNOWN_AGAIN: usize = 16;
/// The answer to this many wrong credentials does not wait: somebody mistypes.
const UNDELAYED: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// How often the log tells of an address.
const SAID_EVERY: Duration = Duration::from_mins(10);

/// What each address has guessed lately.
#[derive(Default)]
pub struct Attempts {
    hasher: RandomState,
    tallies: Mutex<HashMap<IpAddr, Tally>>,
}

struct Tally {
    /// The guesses that count, as of `at`; it falls by one every [`EACH`].
    guesses: f64,
    at: Instant,
    /// Hashes of the last wrong credentials, oldest first.
    known: Vec<u64>,
    said: Option<Instant>,
}

impl Tally {
    fn guesses(&self, now: Instant) -> f64 {
        let fallen = now.saturating_duration_since(self.at).as_secs_f64() / EACH.as_secs_f64();
        (self.guesses - fallen).max(0.0)
    }
}

/// What becomes of a wrong credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// How long its answer waits.
    pub delay: Duration,
    /// Whether the log shall tell now that this address guesses.
    pub is_news: bool,
}

impl Attempts {
    /// How long no login of `ip` is looked at; `None` where it may try.
    #[must_use]
    pub fn held(&self, ip: IpAddr, now: Instant) -> Option<Duration> {
        let tallies = self.lock();
        let guesses = tallies.get(&known_by(ip))?.guesses(now);
        let over = guesses - f64::from(AT_ONCE - 1);
        (over > 0.0).then(|| EACH.mul_f64(over))
    }

    /// Notes a wrong credential of `ip`.
    pub fn wrong(&self, ip: IpAddr, credential: &[u8], now: Instant) -> Wrong {
        let hash = self.hasher.hash_one(credential);
        let mut tallies = self.lock();
        let ip = known_by(ip);
        if !tallies.contains_key(&ip) {
            make_room(&mut tallies, now);
        }
        let new = || Tally { guesses: 0.0, at: now, known: Vec::new(), said: None };
        let tally = tallies.entry(ip).or_insert_with(new);
        tally.guesses = tally.guesses(now);
        tally.at = now;
        if tally.known.contains(&hash) {
            return Wrong { delay: Duration::ZERO, is_news: false };
        }
        if tally.known.len() == KNOWN_AGAIN {
            tally.known.remove(0);
        }
        tally.known.push(hash);
        tally.guesses = (tally.guesses + 1.0).min(f64::from(AT_ONCE));
        let is_full = tally.guesses > f64::from(AT_ONCE - 1);
        let is_due =
            tally.said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EVERY);
        let is_news = is_full && is_due;
        if is_news {
            tally.said = Some(now);
        }
        Wrong { delay: delay(tally.guesses), is_news }
    }

    /// How many addresses are remembered.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets who has not guessed for long; then, where all have, the half that guessed least, so that
/// many addresses do not make one forgotten that guesses much.
fn make_room(tallies: &mut HashMap<IpAddr, Tally>, now: Instant) {
    if tallies.len() < ADDRESSES {
        return;
    }
    tallies.retain(|_, tally| tally.guesses(now) > 0.0);
    if tallies.len() < ADDRESSES {
        return;
    }
    let mut all: Vec<f64> = tallies.values().map(|tally| tally.guesses(now)).collect();
    all.sort_by(f64::total_cmp);
    let middle = all[all.len() / 2];
    let above = all.iter().filter(|guesses| **guesses > middle).count();
    let mut left = (ADDRESSES / 2).saturating_sub(above);
    tallies.retain(|_, tally| {
        let guesses = tally.guesses(now);
        let as_many = guesses >= middle && left > 0;
        let stays = guesses > middle || as_many;
        left -= usize::from(stays && guesses <= middle);
        stays
    });
}

fn delay(guesses: f64) -> Duration {
    let over = guesses - f64::from(UNDELAYED);
    if over <= 0.0 {
        return Duration::ZERO;
    }
    FIRST_DELAY.mul_f64((over - 1.0).max(0.0).exp2()).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn guesses_are_delayed_and_then_logins_are_not_looked_at() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let mut delays = Vec::new();
        for guess in 0..AT_ONCE {
            assert_eq!(attempts.held(IP, now), None, "{guess}");
            let wrong = attempts.wrong(IP, &guess.to_be_bytes(), now);
            assert_eq!(wrong.is_news, guess == AT_ONCE - 1, "{guess}");
            delays.push(u64::try_from(wrong.delay.as_millis()).unwrap());
        }
        assert_eq!(delays, [0, 0, 0, 250, 500, 1_000, 2_000, 2_000, 2_000, 2_000]);
        assert_eq!(attempts.held(IP, now), Some(EACH));
        assert_eq!(attempts.held("192.0.2.8".parse().unwrap(), now), None);
        // One more guess each half minute.
        let later = now + EACH;
        assert_eq!(attempts.held(IP, later), None);
        assert!(!attempts.wrong(IP, b"another", later).is_news, "it was said a moment ago");
        assert_eq!(attempts.held(IP, later), Some(EACH));
        assert!(attempts.wrong(IP, b"yet another", now + SAID_EVERY * 2).delay.is_zero());
    }

    #[test]
    fn the_same_wrong_credential_is_one_guess() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..1_000 {
            assert!(attempts.wrong(IP, b"the old password", now).delay.is_zero());
        }
        assert_eq!(attempts.held(IP, now), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for guess in 0..AT_ONCE {
            let ip = format!("2001:db8::{guess:x}").parse().unwrap();
            attempts.wrong(ip, &guess.to_be_bytes(), now);
        }
        assert!(attempts.held("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(attempts.held("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }

    #[test]
    fn many_addresses_take_no_more_room_and_hide_no_guesser() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for guess in 0..AT_ONCE {
            attempts.wrong(IP, &guess.to_be_bytes(), now);
        }
        for other in 0..30_000_u32 {
            attempts.wrong(std::net::Ipv4Addr::from(0x0a00_0000 + other).into(), b"x", now);
        }
        assert!(attempts.addresses() <= ADDRESSES, "{}", attempts.addresses());
        assert!(attempts.held(IP, now).is_some(), "it is forgotten");
    }
}

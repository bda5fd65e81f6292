//! How many connections there are, and which one goes when there are too many.
//!
//! A connection that says nothing, or takes its time with the headers of a request, waits; one whose
//! request is being answered is busy. Where a new one finds no room, the one goes that has waited the
//! longest: so whoever opens thousands of connections and says nothing loses them to those who say
//! something. Only where all are busy the new one is refused.
//!
//! Each address may have a part of the room. A trusted proxy's is everybody's, so it may have all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

use futures_util::task::AtomicWaker;
use metrics::{counter, gauge};

use super::Limits;
use crate::{
    http::{address::known_by, proxies::Proxies},
    telemetry,
};

const WAITS: u8 = 0;
const BUSY: u8 = 1;
const MUST_GO: u8 = 2;

/// All connections.
pub struct Crowd {
    limits: Limits,
    proxies: Proxies,
    begun: Instant,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    places: HashMap<u64, Arc<Place>>,
    of: HashMap<IpAddr, usize>,
    next: u64,
}

/// One connection's place.
#[derive(Default)]
pub struct Place {
    id: u64,
    /// Whose room it takes; `None` for a trusted proxy.
    of: Option<IpAddr>,
    state: AtomicU8,
    /// Since when it waits, in milliseconds since the crowd began.
    since: AtomicU64,
    waker: AtomicWaker,
    crowd: Weak<Crowd>,
    left: AtomicBool,
}

impl Crowd {
    /// Nobody yet.
    #[must_use]
    pub fn new(limits: Limits, proxies: Proxies) -> Self {
        Self { limits, proxies, begun: Instant::now(), inside: Mutex::default() }
    }

    /// A place for a connection from `ip`, for which another one may have to go; `None` where there
    /// is no room.
    #[must_use]
    pub fn admit(crowd: &Arc<Self>, ip: IpAddr) -> Option<Arc<Place>> {
        let of = (!crowd.proxies.trusts(ip)).then(|| known_by(ip));
        let mut inside = crowd.lock();
        let held = of.and_then(|of| inside.of.get(&of)).copied().unwrap_or_default();
        let full = inside.places.len() >= crowd.limits.connections;
        let crowded = held >= crowd.limits.per_address;
        if full || crowded {
            // Where the address has its part already, its own have to go.
            let of_these = |place: &Place| !crowded || place.of == of;
            let Some(gone) = inside.longest_waiting(of_these) else {
                counter!(telemetry::CROWDED, "outcome" => "refused").increment(1);
                return None;
            };
            inside.remove(&gone);
            counter!(telemetry::CROWDED, "outcome" => "made_room").increment(1);
        }
        inside.next += 1;
        let place = Arc::new(Place {
            id: inside.next,
            of,
            since: AtomicU64::new(crowd.now()),
            crowd: Arc::downgrade(crowd),
            ..Place::default()
        });
        inside.places.insert(place.id, Arc::clone(&place));
        if let Some(of) = of {
            *inside.of.entry(of).or_default() += 1;
        }
        inside.tell();
        Some(place)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// The place of these that has waited the longest, which from now on must go.
    fn longest_waiting(&self, of_these: impl Fn(&Place) -> bool) -> Option<Arc<Place>> {
        loop {
            let waits = |place: &&Arc<Place>| {
                place.state.load(Ordering::Acquire) == WAITS && of_these(place)
            };
            let since = |place: &&Arc<Place>| (place.since.load(Ordering::Relaxed), place.id);
            let place = self.places.values().filter(waits).min_by_key(since)?;
            // A request may have come at this moment.
            if place.must_go() {
                return Some(Arc::clone(place));
            }
        }
    }

    fn remove(&mut self, place: &Place) {
        if self.places.remove(&place.id).is_none() {
            return;
        }
        if let Some(of) = place.of
            && let Some(count) = self.of.get_mut(&of)
        {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&of);
            }
        }
        self.tell();
    }

    fn tell(&self) {
        gauge!(telemetry::CONNECTIONS).set(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
    }
}

impl Place {
    /// A request has come.
    pub(super) fn begin(&self) {
        // One that must go does so when its answer is out.
        let _is_late =
            self.state.compare_exchange(WAITS, BUSY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Its answer is out.
    pub(super) fn end(&self) {
        if let Some(crowd) = self.crowd.upgrade() {
            self.since.store(crowd.now(), Ordering::Relaxed);
        }
        let _is_late =
            self.state.compare_exchange(BUSY, WAITS, Ordering::AcqRel, Ordering::Acquire);
    }

    fn must_go(&self) -> bool {
        let waits =
            self.state.compare_exchange(WAITS, MUST_GO, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
        waits.is_ok()
    }

    /// Whether the connection has to end; else `waker` is woken when it has to.
    pub(super) fn is_over(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.state.load(Ordering::Acquire) == MUST_GO
    }

    /// The connection has ended.
    pub(super) fn leave(&self) {
        if !self.left.swap(true, Ordering::AcqRel)
            && let Some(crowd) = self.crowd.upgrade()
        {
            crowd.lock().remove(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";
    const PROXY: &str = "10.0.0.1";

    fn crowd(connections: usize, per_address: usize) -> Arc<Crowd> {
        let limits = Limits { connections, per_address };
        Arc::new(Crowd::new(limits, Proxies::parse(PROXY).unwrap()))
    }

    fn admit(crowd: &Arc<Crowd>, ip: &str) -> Option<Arc<Place>> {
        Crowd::admit(crowd, ip.parse().unwrap())
    }

    fn is_over(place: &Place) -> bool {
        place.is_over(Waker::noop())
    }

    #[test]
    fn who_waits_the_longest_makes_room() {
        let crowd = crowd(3, 3);
        let places = [A, A, B].map(|ip| admit(&crowd, ip).unwrap());
        places[0].begin();
        let fourth = admit(&crowd, B).unwrap();
        assert_eq!(places.each_ref().map(|place| is_over(place)), [false, true, false]);
        // Its own end changes nothing any more.
        places[1].leave();
        places[1].begin();
        assert!(is_over(&places[1]));
        for place in [&places[2], &fourth] {
            place.begin();
        }
        assert!(admit(&crowd, A).is_none(), "all are busy");
        fourth.end();
        assert!(admit(&crowd, A).is_some() && is_over(&fourth));
    }

    #[test]
    fn an_address_makes_room_for_itself() {
        let crowd = crowd(10, 2);
        let others = [B, B].map(|ip| admit(&crowd, ip).unwrap());
        let own = [A, A].map(|ip| admit(&crowd, ip).unwrap());
        let third = admit(&crowd, A).unwrap();
        assert!(is_over(&own[0]) && !is_over(&own[1]) && !is_over(&third));
        assert!(others.iter().all(|place| !is_over(place)));
        own[1].begin();
        third.begin();
        assert!(admit(&crowd, A).is_none());
        own[1].leave();
        assert!(admit(&crowd, A).is_some());
        // A proxy's are everybody's.
        let many: Vec<_> = (0..5).map(|_| admit(&crowd, PROXY).unwrap()).collect();
        assert!(many.iter().all(|place| !is_over(place)));
    }

    #[test]
    fn who_leaves_leaves_nothing() {
        let crowd = crowd(10, 10);
        let places: Vec<_> = (0..10).map(|_| admit(&crowd, A).unwrap()).collect();
        for place in &places {
            place.leave();
            place.leave();
        }
        let inside = crowd.lock();
        assert!(inside.places.is_empty() && inside.of.is_empty());
    }
}

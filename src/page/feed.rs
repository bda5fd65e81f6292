//! New and changed alerts for all open pages: found once, drawn once, handed to everybody.
//!
//! What this replica has written, the writer tells ([`News`]); it is read as it is at this moment, not
//! as the last refresh saw it. What other replicas have written is found by a search for the last
//! minutes, once a second while anybody looks: after a refresh of the index, which is Malcolm's setting.
//! An alert is told again only when its row looks different.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    escape,
    rows::{Row, rows},
};
use crate::{
    clock,
    history::{self, Item, Stale},
    news::{Address, News},
    opensearch::{
        Client, Error,
        records::{self, Found},
    },
};

/// How many pages may be open at once; who comes then asks again and again.
pub const STREAMS: usize = 500;
/// How many events a slow browser may be behind, before it is told to load its page again.
const BEHIND: usize = 64;
/// How many events are kept for browsers that come back.
const KEPT: usize = 64;
/// How many alerts are read at once.
const GATHERED_AT_ONCE: usize = 256;
/// How many alerts one event tells; a browser shows no more than the newest anyway.
const ALERTS: usize = 50;
/// What comes within this time goes into one event.
const GATHERED: Duration = Duration::from_millis(100);
/// While alerts keep coming, an event is told this long after the one before: each costs every browser
/// that is open.
const APART: Duration = Duration::from_millis(600);
/// How often other replicas' alerts are looked for.
const SEARCHED: Duration = Duration::from_secs(1);
/// How far back a search looks: longer than an index takes to be refreshed.
const BACK: SignedDuration = SignedDuration::from_mins(3);
/// How many alerts are remembered as told.
const TOLD: usize = 5_000;
/// From the pages that show rows to the root.
const BASE: &str = "./";

/// The feed of all open pages.
pub struct Feed {
    client: Client,
    settings: history::Settings,
    news: Arc<News>,
    sender: broadcast::Sender<Event>,
    kept: Mutex<Kept>,
    streams: Arc<Semaphore>,
    wanted: Notify,
    closed: CancellationToken,
}

/// What is sent to a browser.
#[derive(Clone, Debug)]
pub struct Event {
    number: u64,
    /// As it goes over the wire.
    pub text: Bytes,
}

struct Kept {
    /// Of this time that somebody listened: numbers of another mean nothing here.
    era: String,
    next: u64,
    events: VecDeque<Event>,
}

impl Default for Kept {
    fn default() -> Self {
        let era = format!("{:08x}", rand::rng().random::<u32>());
        Self { era, next: 1, events: VecDeque::new() }
    }
}

/// What the searches since somebody listens have seen.
#[derive(Clone, Copy)]
enum Seen {
    /// There was none yet.
    Nothing,
    /// The last one failed.
    Trouble,
    /// What is new.
    All,
}

/// What one browser gets.
pub struct Listener {
    /// What it has missed, then what comes.
    pub missed: VecDeque<Event>,
    /// What comes.
    pub receiver: broadcast::Receiver<Event>,
    /// Its place among those that may be open.
    pub permit: OwnedSemaphorePermit,
}

impl Feed {
    /// A feed that does nothing yet; see [`Self::run`].
    #[must_use]
    pub fn new(client: &Client, settings: history::Settings) -> Self {
        Self {
            client: client.within(Duration::from_secs(5)),
            settings,
            news: Arc::default(),
            sender: broadcast::Sender::new(BEHIND),
            kept: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            wanted: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    /// What the writer tells it.
    #[must_use]
    pub fn news(&self) -> Arc<News> {
        Arc::clone(&self.news)
    }

    /// Ends every stream, at once, and lets none begin.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Ends when [`Self::close`] was called.
    #[must_use]
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Lets a browser listen that has seen `last` already; `None` where too many do.
    #[must_use]
    pub fn listen(&self, last: Option<&str>) -> Option<Listener> {
        if self.closed.is_cancelled() {
            return None;
        }
        let permit = Arc::clone(&self.streams).try_acquire_owned().ok()?;
        // Under the lock, so that no event is missed in between, nor told twice.
        let kept = self.kept();
        let receiver = self.sender.subscribe();
        let missed = kept.after(last).unwrap_or_else(|| [kept.again()].into());
        drop(kept);
        self.wanted.notify_one();
        Some(Listener { missed, receiver, permit })
    }

    /// What a browser is told that was too slow: to load its page again.
    #[must_use]
    pub fn again(&self) -> Event {
        self.kept().again()
    }

    /// Looks for news while somebody listens, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.wanted.notified()).await.is_some() {
            self.news.want(true);
            let mut told = Told::default();
            if stop.run_until_cancelled(self.serve(&mut told)).await.is_none() {
                return;
            }
            self.news.want(false);
        }
    }

    /// Whether nobody listens any more. Who comes back later has missed what nobody has looked for.
    fn is_over(&self) -> bool {
        // Under the lock, so that who comes now has either been counted, or loads the page again.
        let mut kept = self.kept();
        let is_over = self.sender.receiver_count() == 0;
        if is_over {
            *kept = Kept::default();
        }
        is_over
    }

    /// Until nobody listens.
    async fn serve(&self, told: &mut Told) {
        let mut searched = tokio::time::interval(SEARCHED);
        searched.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut seen, mut looked) = (Seen::Nothing, Instant::now());
        while !self.is_over() {
            let mut is_search = false;
            let found = tokio::select! {
                mut stored = self.news.take(ALERTS) => {
                    tokio::time::sleep(GATHERED.max(APART.saturating_sub(looked.elapsed()))).await;
                    looked = Instant::now();
                    let more = tokio::time::timeout(Duration::ZERO, self.news.take(GATHERED_AT_ONCE));
                    stored.extend(more.await.unwrap_or_default());
                    self.read(stored).await
                }
                _ = searched.tick() => {
                    is_search = true;
                    self.search().await
                }
            };
            match found {
                Ok(hits) => {
                    let stale = Stale::of(
                        self.settings.stale_after,
                        self.settings.reconciles,
                        clock::now(),
                    );
                    let items = hits.iter().map(|hit| Item::of(hit, stale)).collect();
                    let news = told.news(items);
                    match (is_search, seen) {
                        // What it finds is on the pages already: they are loaded again as they come.
                        (true, Seen::Nothing) => {}
                        // Others may have stored what is too old by now for a search to find.
                        (true, Seen::Trouble) => self.tell(|kept| kept.event("again", "")),
                        _ if news.is_empty() => {}
                        _ => self.tell(|kept| kept.event("alerts", &data(&news))),
                    }
                    if is_search {
                        seen = Seen::All;
                    }
                }
                // Pages tell what is wrong with the store, once they are loaded again.
                Err(fault) => {
                    if !matches!(seen, Seen::Trouble) {
                        self.tell(|kept| kept.event("again", ""));
                    }
                    seen = Seen::Trouble;
                    debug!(error = %fault, "news for open pages cannot be read now");
                }
            }
        }
    }

    /// Reads records as they are now.
    async fn read(&self, mut addresses: Vec<Address>) -> Result<Vec<Value>, Error> {
        addresses.sort_unstable();
        addresses.dedup();
        let borrowed: Vec<_> =
            addresses.iter().map(|(index, id)| (index.as_str(), id.as_str())).collect();
        let found = records::read(&self.client, &borrowed).await?;
        let hits = addresses.iter().zip(found).filter_map(|((index, id), found)| match found {
            Found::There(source) => Some(json!({ "_index": index, "_id": id, "_source": source })),
            _ => None,
        });
        Ok(hits.collect())
    }

    /// Finds what was written, or changed its state, in the last minutes.
    async fn search(&self) -> Result<Vec<Value>, Error> {
        let since = clock::now() - BACK;
        let body = json!({
            "size": ALERTS, "track_total_hits": false, "timeout": "3s",
            "query": { "bool": {
                "filter": [{ "term": { "event.dataset": "alerting" } }],
                "should": [
                    { "range": { "event.ingested": { "gte": since.to_string() } } },
                    { "range": { "event.sequence": { "gte": since.as_millisecond() } } } ],
                "minimum_should_match": 1 } },
            "sort": [{ "event.sequence": { "order": "desc", "unmapped_type": "long" } }] });
        let mut answer = history::search(&self.client, &self.settings.pattern, &body).await?;
        match answer.pointer_mut("/hits/hits").map(Value::take) {
            Some(Value::Array(hits)) => Ok(hits),
            _ => Ok(Vec::new()),
        }
    }

    fn tell(&self, event: impl FnOnce(&mut Kept) -> Event) {
        let mut kept = self.kept();
        let event = event(&mut kept);
        kept.events.push_back(event.clone());
        if kept.events.len() > KEPT {
            kept.events.pop_front();
        }
        // Nobody may be there any more.
        self.sender.send(event).ok();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn event(&mut self, name: &str, data: &str) -> Event {
        let number = self.next;
        self.next += 1;
        let text = format!("id: {}.{number}\nevent: {name}\ndata: {data}\n\n", self.era);
        Event { number, text: text.into() }
    }

    /// Carries the number of the last event, so that who comes back has seen it.
    fn again(&self) -> Event {
        let number = self.next - 1;
        let text = format!("id: {}.{number}\nevent: again\ndata:\n\n", self.era);
        Event { number, text: text.into() }
    }

    /// What came after `last`; `None` where nobody can tell.
    fn after(&self, last: Option<&str>) -> Option<VecDeque<Event>> {
        let (era, number) = last?.split_once('.')?;
        let number: u64 = number.parse().ok()?;
        let oldest = self.events.front().map_or(self.next, |event| event.number);
        let is_known = era == self.era && number < self.next && number + 1 >= oldest;
        is_known
            .then(|| self.events.iter().filter(|event| event.number > number).cloned().collect())
    }
}

/// What an event tells: the rows as they are drawn in lists, the one that began last first, and a
/// sentence for those who do not see them.
fn data(news: &[Item]) -> String {
    let mut all: Vec<Row> = news.iter().map(Row::of).collect();
    // Each is put on top, one after the other.
    all.sort_by_cached_key(|row| row.began.as_ref().map(ToString::to_string));
    let said = match all.as_slice() {
        [one] => format!("{}: {}, {}", escape::plain(&one.rule), one.state, one.severity.name()),
        several => format!("{} alerts are new or have changed", several.len()),
    };
    // A browser shows no more; what changed below is there with the next load.
    let told: Vec<_> = all[all.len().saturating_sub(ALERTS)..]
        .iter()
        .map(|row| json!({ "key": row.key, "html": rows(std::slice::from_ref(row), BASE) }))
        .collect();
    json!({ "rows": told, "said": said }).to_string()
}

/// How alerts looked when they were told.
#[derive(Default)]
struct Told(HashMap<String, (blake3::Hash, u64)>, u64);

impl Told {
    /// Those that look different now.
    fn news(&mut self, items: Vec<Item>) -> Vec<Item> {
        self.1 += 1;
        let round = self.1;
        let mut news = items;
        news.retain(|item| {
            let row = Row::of(item);
            let look = blake3::hash(rows(std::slice::from_ref(&row), BASE).as_bytes());
            let known = self.0.insert(row.key, (look, round));
            known.is_none_or(|(known, _)| known != look)
        });
        if self.0.len() > TOLD {
            // Those of the last rounds are the ones that a search finds again.
            let mut rounds: Vec<_> = self.0.values().map(|(_, round)| *round).collect();
            rounds.sort_unstable();
            let middle = rounds[rounds.len() / 2];
            self.0.retain(|_, (_, round)| *round >= middle);
        }
        news
    }
}

/// When an event may come at the latest, so that a proxy sees that the stream lives.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream may live: whoever comes back is asked again who they are.
pub const LIFE: Duration = Duration::from_mins(10);

/// For the time that something was told.
#[must_use]
pub fn heartbeat(now: Timestamp) -> Bytes {
    format!(": {now:.0}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, state: &str) -> Item {
        Item {
            id: id.to_owned(),
            state: state.to_owned(),
            rule: "Bea\u{202e}cons\nx".to_owned(),
            began: Some("2026-11-22T01:00:00Z".to_owned()),
            ..Item::default()
        }
    }

    #[test]
    fn an_alert_is_told_again_only_when_it_looks_different() {
        let mut told = Told::default();
        assert_eq!(told.news(vec![item("a", "engaged"), item("b", "engaged")]).len(), 2);
        assert_eq!(told.news(vec![item("a", "engaged"), item("b", "released")]).len(), 1);
        assert_eq!(told.news(vec![item("b", "released")]).len(), 0);
        for number in 0..3 * TOLD {
            told.news(vec![item(&number.to_string(), "engaged")]);
        }
        assert!(told.0.len() <= TOLD + 1, "{}", told.0.len());
    }

    #[test]
    fn an_event_has_the_alerts_that_began_last_and_counts_all() {
        let began = |minute| Item {
            began: Some(format!("2026-11-22T01:{minute:02}:00Z")),
            ..item(&format!("a{minute}"), "engaged")
        };
        let told: Value =
            serde_json::from_str(&data(&(0..60).map(began).collect::<Vec<_>>())).unwrap();
        let rows = told["rows"].as_array().unwrap();
        assert_eq!(
            (rows.len(), &rows[0]["key"], &rows[49]["key"]),
            (50, &json!("/a10"), &json!("/a59"))
        );
        assert_eq!(told["said"], "60 alerts are new or have changed");
    }

    #[test]
    fn who_comes_back_gets_what_was_missed_or_loads_the_page_again() {
        let mut kept = Kept { era: "p".to_owned(), next: 1, events: VecDeque::new() };
        let missed = |kept: &Kept, last: &str| kept.after(Some(last)).map(|events| events.len());
        assert_eq!(missed(&kept, "p.0"), Some(0));
        for _ in 0..3 {
            let event = kept.event("alerts", "{}");
            kept.events.push_back(event);
        }
        for (last, want) in [
            ("p.3", Some(0)),
            ("p.1", Some(2)),
            ("p.0", Some(3)),
            ("p.4", None),
            ("q.1", None),
            ("p.x", None),
            ("", None),
        ] {
            assert_eq!(missed(&kept, last), want, "{last}");
        }
        kept.events.pop_front();
        kept.events.pop_front();
        assert_eq!((missed(&kept, "p.2"), missed(&kept, "p.1")), (Some(1), None));
        assert!(kept.after(None).is_none());
        assert_eq!(kept.again().text, "id: p.3\nevent: again\ndata:\n\n");
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_senders_wrote() {
        let data = data(&[item("a\n\ndata: x", "engaged")]);
        assert!(!data.contains('\n'), "{data}");
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data["said"], "Bea\\u{202e}cons\nx: engaged, info");
        assert!(data["rows"][0]["html"].as_str().unwrap().contains("Bea\\u{202e}cons"));
    }
}

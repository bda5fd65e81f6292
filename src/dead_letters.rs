//! What can be done with dead letters: look at them, replay them, drop them, export them. The API
//! and the command do it the same way, here.
//!
//! Everything goes page by page, so that a million of them need no more memory than some hundred,
//! and the intake never waits for long. No body leaves this module with a secret in it.

use std::{collections::VecDeque, fmt, vec};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    intake::shown::{Shown, shown},
    spool::{AppendError, DeadLetter, Filter, Page, Spool},
};

/// Dead letters that are read, replayed or dropped in one go.
const PAGE: usize = 500;
/// And about as many bytes of bodies are moved in one transaction.
const MOVED_BYTES: u64 = 16 << 20;
/// An export is handed out in pieces of about this size.
const PIECE: usize = 64 << 10;
/// How many numbers are told of a selection.
const TOLD: usize = 10;

/// A dead letter as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeadLetter)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// The source that the route named; empty where it named none.
    pub source: String,
    /// When it was received.
    pub received_at: String,
    /// When it became a dead letter.
    pub died_at: String,
    /// Why it is one.
    pub reason: String,
    /// Length of its body, as it was received.
    pub bytes: u64,
    /// How often it was tried to store it; 0 where only its head was kept.
    pub attempts: u64,
}

/// A dead letter with everything that came along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeadLetterWithBody)]
pub struct Whole {
    /// As it is listed.
    #[serde(flatten)]
    pub item: Item,
    /// `Content-Type`, as sent.
    pub content_type: String,
    /// How the body came: `identity`, `gzip` or `deflate`. It is told unpacked.
    pub encoding: String,
    /// The body, where it is text; secrets are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// A page as the API gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeadLetters)]
pub struct Items {
    /// Oldest first.
    pub items: Vec<Item>,
    /// The `after` of the next page; null when there is none.
    pub next: Option<i64>,
}

/// Which dead letters are to be replayed or dropped: exactly one way of saying it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub enum Selection {
    /// Those with these numbers.
    Ids(Vec<i64>),
    /// Those whose reason contains this.
    Reason(String),
    /// Those of this source; `-` for those without one.
    Source(String),
    /// All that are there when it begins.
    All,
}

/// A selection as JSON says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    ids: Option<Vec<i64>>,
    reason: Option<String>,
    source: Option<String>,
    all: Option<bool>,
}

impl TryFrom<Given> for Selection {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        match given {
            // An empty text is in every reason: what a script forgot to fill in is not "all".
            Given { ids: Some(ids), reason: None, source: None, all: None } if !ids.is_empty() => {
                Ok(Self::Ids(ids))
            }
            Given { ids: None, reason: Some(text), source: None, all: None }
                if !text.is_empty() =>
            {
                Ok(Self::Reason(text))
            }
            Given { ids: None, reason: None, source: Some(name), all: None }
                if !name.is_empty() =>
            {
                Ok(Self::Source(name))
            }
            Given { ids: None, reason: None, source: None, all: Some(true) } => Ok(Self::All),
            _ => Err(
                r#"say which, in exactly one way: {"ids":[1,2]}, {"reason":"a part of it"}, {"source":"its name, or -"} or {"all":true}"#,
            ),
        }
    }
}

impl Selection {
    /// As the API takes it.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Ids(ids) => json!({ "ids": ids }),
            Self::Reason(text) => json!({ "reason": text }),
            Self::Source(name) => json!({ "source": name }),
            Self::All => json!({ "all": true }),
        }
    }

    /// The filter that says the same; numbers have none.
    #[must_use]
    pub fn filter(&self) -> Option<Filter> {
        match self {
            Self::Ids(_) => None,
            Self::Reason(text) => Some(Filter { reason: Some(text.clone()), source: None }),
            Self::Source(name) => Some(Filter { reason: None, source: Some(name.clone()) }),
            Self::All => Some(Filter::default()),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(ids) => {
                let told: Vec<_> = ids.iter().take(TOLD).map(i64::to_string).collect();
                let more = if ids.len() > TOLD { ", …" } else { "" };
                write!(f, "id {}{more}", told.join(", "))
            }
            Self::Reason(text) => write!(f, "reason contains {text:?}"),
            Self::Source(name) => write!(f, "source {name:?}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// How far a replay or a drop came, also when it did not come to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replayed or dropped.
    pub done: u64,
    /// Left, since only the head of the body is there.
    pub left: u64,
}

/// Why a replay or a drop did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The spool cannot be read.
    #[error("the spool cannot be read: {0}")]
    Read(#[from] rusqlite::Error),
    /// The spool cannot be written.
    #[error(transparent)]
    Write(#[from] AppendError),
}

/// Some dead letters, oldest first: at most `count` of those after `after`.
///
/// # Errors
/// When the spool cannot be read.
pub fn list(spool: &Spool, filter: &Filter, after: i64, count: usize) -> rusqlite::Result<Items> {
    let (mut items, mut next) = (Vec::new(), Some(after));
    while let Some(after) = next
        && items.len() < count
    {
        let page = spool.dead_letters(filter, (after, i64::MAX), count - items.len())?;
        items.extend(page.letters.iter().map(Item::of));
        next = page.next;
    }
    Ok(Items { items, next })
}

/// One dead letter; `limit` is how much of its body is unpacked.
///
/// # Errors
/// When the spool cannot be read.
pub fn show(spool: &Spool, id: i64, limit: usize) -> rusqlite::Result<Option<Whole>> {
    let letter = spool.dead_letters_of(&[id])?.pop();
    letter.map_or(Ok(None), |letter| whole(spool, &letter, limit))
}

/// Makes dead letters entries of the spool again, so that they are written once more. The head of
/// a body that was too large is left.
///
/// # Errors
/// [`Fault`]; `tally` says how many it had before.
pub async fn replay(spool: &Spool, selection: &Selection, tally: &mut Tally) -> Result<(), Fault> {
    let mut pages = Pages::of(spool, selection)?;
    while let Some(letters) = tokio::task::block_in_place(|| pages.next())? {
        let heads = letters.iter().filter(|letter| letter.attempts == 0).count();
        for ids in groups(letters) {
            tally.done += spool.replay(ids).await?;
        }
        tally.left += u64::try_from(heads).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Removes dead letters for good.
///
/// # Errors
/// [`Fault`]; `tally` says how many it had before.
pub async fn discard(spool: &Spool, selection: &Selection, tally: &mut Tally) -> Result<(), Fault> {
    discard_seen(spool, selection, i64::MAX, tally).await
}

/// Removes them, but for those with a higher number than `last`: whoever asked had not seen them.
///
/// # Errors
/// As [`discard`].
pub async fn discard_seen(
    spool: &Spool,
    selection: &Selection,
    last: i64,
    tally: &mut Tally,
) -> Result<(), Fault> {
    let mut pages = Pages::of(spool, selection)?.up_to(last);
    while let Some(letters) = tokio::task::block_in_place(|| pages.next())? {
        for ids in groups(letters) {
            tally.done += spool.drop_letters(ids).await?;
        }
    }
    Ok(())
}

/// Numbers that fit into one transaction.
fn groups(letters: Vec<DeadLetter>) -> Vec<Vec<i64>> {
    let (mut groups, mut bytes) = (Vec::new(), 0);
    for letter in letters {
        if bytes == 0 || bytes > MOVED_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += letter.bytes.max(1);
        if let Some(group) = groups.last_mut() {
            group.push(letter.id);
        }
    }
    groups
}

/// The selected dead letters, page by page.
enum Pages<'a> {
    Ids {
        spool: &'a Spool,
        ids: VecDeque<i64>,
    },
    /// Only up to the newest at the begin: what is replayed may come back as a new dead letter,
    /// and would be replayed for ever.
    Filter {
        spool: &'a Spool,
        filter: Filter,
        after: Option<i64>,
        until: i64,
    },
}

impl<'a> Pages<'a> {
    fn of(spool: &'a Spool, selection: &Selection) -> rusqlite::Result<Self> {
        Ok(match selection {
            Selection::Ids(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                Self::Ids { spool, ids: ids.into() }
            }
            selection => {
                let filter = selection.filter().unwrap_or_default();
                let until = spool.last_dead_letter()?;
                Self::Filter { spool, filter, after: Some(0), until }
            }
        })
    }

    /// None of a selection that came after this one; numbers are what they are.
    fn up_to(mut self, last: i64) -> Self {
        if let Self::Filter { until, .. } = &mut self {
            *until = last.min(*until);
        }
        self
    }

    fn next(&mut self) -> rusqlite::Result<Option<Vec<DeadLetter>>> {
        match self {
            Self::Ids { ids, .. } if ids.is_empty() => Ok(None),
            Self::Ids { spool, ids } => {
                let page: Vec<_> = ids.drain(..PAGE.min(ids.len())).collect();
                spool.dead_letters_of(&page).map(Some)
            }
            Self::Filter { spool, filter, after, until } => {
                let Some(from) = *after else { return Ok(None) };
                let Page { letters, next } = spool.dead_letters(filter, (from, *until), PAGE)?;
                *after = next;
                Ok(Some(letters))
            }
        }
    }
}

/// Dead letters as lines of JSON, one each, those that are there when it begins.
pub struct Export {
    filter: Filter,
    after: Option<i64>,
    until: i64,
    limit: usize,
    page: vec::IntoIter<DeadLetter>,
}

impl Export {
    /// Begins one; `limit` is how much of a body is unpacked.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn begin(spool: &Spool, filter: Filter, limit: usize) -> rusqlite::Result<Self> {
        let (until, page) = (spool.last_dead_letter()?, Vec::new().into_iter());
        Ok(Self { filter, after: Some(0), until, limit, page })
    }

    /// Some more whole lines; `None` when there are no more.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn next(&mut self, spool: &Spool) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            if let Some(letter) = self.page.next() {
                // It may have been replayed or dropped meanwhile.
                if let Some(whole) = whole(spool, &letter, self.limit)? {
                    // Texts and numbers, into memory: it cannot fail.
                    serde_json::to_writer(&mut piece, &whole).ok();
                    piece.push(b'\n');
                }
                continue;
            }
            let Some(after) = self.after else { break };
            let page = spool.dead_letters(&self.filter, (after, self.until), PAGE)?;
            self.after = page.next;
            self.page = page.letters.into_iter();
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

impl Item {
    fn of(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            source: letter.source.clone(),
            received_at: letter.received.to_string(),
            died_at: letter.died.to_string(),
            reason: letter.reason.clone(),
            bytes: letter.bytes,
            attempts: letter.attempts,
        }
    }
}

fn whole(spool: &Spool, letter: &DeadLetter, limit: usize) -> rusqlite::Result<Option<Whole>> {
    let Some(body) = spool.dead_letter_body(letter.id)? else { return Ok(None) };
    let (body, body_base64) = match shown(letter.encoding, &body, limit) {
        Shown::Text(text) => (Some(text), None),
        Shown::Bytes(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
    };
    Ok(Some(Whole {
        item: Item::of(letter),
        content_type: letter.content_type.clone(),
        encoding: letter.encoding.name().to_owned(),
        body,
        body_base64,
    }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        intake::{Encoding, Envelope},
        spool::Settlement,
    };

    fn envelope(body: &[u8]) -> Envelope {
        Envelope {
            source: None,
            received: Timestamp::UNIX_EPOCH,
            content_type: String::new(),
            encoding: Encoding::Identity,
            body: body.to_vec(),
        }
    }

    /// A spool with so many dead letters, and the head of one.
    async fn spool(count: usize) -> (Spool, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 30).unwrap();
        spool.set_aside(envelope(b"head"), "too large".to_owned()).await.unwrap();
        for _ in 0..count {
            spool.append(envelope(b"body"), None).await.unwrap();
        }
        refuse(&spool, "no").await;
        (spool, dir)
    }

    /// Makes every entry a dead letter.
    async fn refuse(spool: &Spool, reason: &str) {
        let entries = spool.next_batch(0, usize::MAX, usize::MAX).unwrap();
        let refused = |id| Settlement { id, refused: Some(reason.to_owned()) };
        spool.settle(entries.iter().map(|entry| refused(entry.id)).collect()).await.unwrap();
    }

    #[test]
    fn a_selection_says_it_in_exactly_one_way() {
        for (json, want) in [
            (r#"{"ids":[2,1]}"#, Some(Selection::Ids(vec![2, 1]))),
            (r#"{"reason":"x"}"#, Some(Selection::Reason("x".to_owned()))),
            (r#"{"source":"-"}"#, Some(Selection::Source("-".to_owned()))),
            (r#"{"all":true}"#, Some(Selection::All)),
            (r#"{"all":false}"#, None),
            (r#"{"ids":[]}"#, None),
            (r#"{"ids":["1"]}"#, None),
            (r#"{"reason":""}"#, None),
            (r#"{"source":""}"#, None),
            (r#"{"reason":"x","source":"y"}"#, None),
            (r#"{"all":true,"ids":[1]}"#, None),
            (r#"{"reasons":"x","all":true}"#, None),
            ("{}", None),
            ("[]", None),
            ("", None),
        ] {
            let selection: Option<Selection> = serde_json::from_str(json).ok();
            assert_eq!(selection, want, "{json}");
            if let Some(selection) = selection {
                assert_eq!(selection.json().to_string(), json);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_replay_of_all_takes_each_once_and_leaves_the_heads() {
        let (spool, _dir) = spool(2 * PAGE + 1).await;
        let mut tally = Tally::default();
        // While it goes on, what was replayed comes back.
        let back = async {
            loop {
                refuse(&spool, "again").await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = replay(&spool, &Selection::All, &mut tally) => outcome.unwrap(),
            () = back => {}
        }
        assert_eq!(tally, Tally { done: 1_001, left: 1 });
        refuse(&spool, "again").await;
        assert_eq!(spool.stats().unwrap().dead_letters, 1_002);
        let again = Selection::Reason("AGAIN".to_owned());
        let mut tally = Tally::default();
        discard(&spool, &again, &mut tally).await.unwrap();
        assert_eq!(tally.done, 1_001);
        let left = list(&spool, &Filter::default(), 0, 9).unwrap();
        assert_eq!((left.items.len(), left.items[0].attempts, left.next), (1, 0, None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn numbers_may_come_twice_or_name_nothing() {
        let (spool, _dir) = spool(3).await;
        let mut tally = Tally::default();
        let ids = Selection::Ids(vec![3, 1, 3, 99]);
        replay(&spool, &ids, &mut tally).await.unwrap();
        assert_eq!(tally, Tally { done: 1, left: 1 });
        discard(&spool, &ids, &mut tally).await.unwrap();
        assert_eq!(tally.done, 2, "the head can be dropped");
        assert_eq!(spool.stats().unwrap().dead_letters, 2);
    }

    #[tokio::test]
    async fn a_list_is_as_long_as_was_asked_and_an_export_holds_all() {
        let (spool, _dir) = spool(3 * PAGE).await;
        let first = list(&spool, &Filter::default(), 0, 1_000).unwrap();
        assert_eq!((first.items.len(), first.next), (1_000, Some(1_000)));
        let rest = list(&spool, &Filter::default(), 1_000, 1_000).unwrap();
        assert_eq!((rest.items.len(), rest.next), (501, None));
        let mut export = Export::begin(&spool, Filter::default(), 1 << 20).unwrap();
        spool.set_aside(envelope(b"later"), "later".to_owned()).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = export.next(&spool).unwrap() {
            assert!(piece.ends_with(b"\n") && piece.len() < PIECE + 1_000);
            text.extend(piece);
        }
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let ids: Vec<_> =
            lines.map(|line| serde_json::from_slice::<Whole>(line).unwrap().item.id).collect();
        assert_eq!(ids, (1..=1_501).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_moved_at_once_is_bounded() {
        let letter = |id, bytes| DeadLetter {
            id,
            source: String::new(),
            received: Timestamp::UNIX_EPOCH,
            died: Timestamp::UNIX_EPOCH,
            reason: String::new(),
            bytes,
            attempts: 1,
            content_type: String::new(),
            encoding: Encoding::Identity,
        };
        let letters = vec![
            letter(1, 0),
            letter(2, 15 << 20),
            letter(3, 20 << 20),
            letter(4, 1),
            letter(5, 1),
        ];
        assert_eq!(groups(letters), [vec![1, 2, 3], vec![4, 5]]);
        assert!(groups(Vec::new()).is_empty());
    }
}

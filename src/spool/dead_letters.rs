//! What is refused for good: kept with its reason, visible and complete.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::intake::Encoding;

/// At most this many rows are looked at in one go, since others wait for the connection meanwhile,
/// and a rare reason could be searched for in a million of them.
const WINDOW: usize = 500;

/// A dead letter, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// The source named by the route; empty where there was none.
    pub source: String,
    /// When it was received.
    pub received: Timestamp,
    /// When it became a dead letter.
    pub died: Timestamp,
    /// Why it is one.
    pub reason: String,
    /// Length of its body, as it is kept.
    pub bytes: u64,
    /// How often it was tried to store it; 0 where only its head was kept.
    pub attempts: u64,
    /// `Content-Type`, as sent.
    pub content_type: String,
    /// How its body is packed.
    pub encoding: Encoding,
}

/// Which dead letters are meant: all of them, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Their reason contains this; upper and lower case (of ASCII) are the same.
    pub reason: Option<String>,
    /// They came from this source; `-` stands for those whose route named none.
    pub source: Option<String>,
}

/// Some dead letters, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// These; perhaps none, although there are more.
    pub letters: Vec<DeadLetter>,
    /// After which number to go on; `None` when there are no more.
    pub next: Option<i64>,
}

/// Looks at up to [`WINDOW`] dead letters, those after `after` up to `until`, and gives at most
/// `count`.
pub fn page(
    connection: &Connection,
    filter: &Filter,
    (after, until): (i64, i64),
    count: usize,
) -> rusqlite::Result<Page> {
    let mut window = connection.prepare_cached(
        "SELECT id FROM dead_letter WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT 1 OFFSET ?3",
    )?;
    let last = rows(WINDOW) - 1;
    let end: Option<i64> = window.query_row((after, until, last), |row| row.get(0)).optional()?;
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, died, reason, length(body), attempts, content_type, encoding
         FROM dead_letter
         WHERE id > ?1 AND id <= ?2
             AND (?3 IS NULL OR instr(lower(reason), lower(?3)) > 0)
             AND (?4 IS NULL OR source = CASE ?4 WHEN '-' THEN '' ELSE lower(?4) END)
         ORDER BY id LIMIT ?5",
    )?;
    let bounds = (after, end.unwrap_or(until), &filter.reason, &filter.source, rows(count));
    let letters = select.query_map(bounds, dead_letter)?;
    let letters: Vec<_> = letters.collect::<rusqlite::Result<_>>()?;
    let next = match letters.last() {
        Some(last) if letters.len() == count => Some(last.id),
        _ => end,
    };
    Ok(Page { letters, next })
}

/// Those with these numbers, as far as they are there, in this order.
pub fn with_ids(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<DeadLetter>> {
    let found = ids.iter().map(|id| one(connection, *id));
    found.filter_map(Result::transpose).collect()
}

/// The highest number; 0 where there are none.
pub fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM dead_letter", [], |row| row.get(0))
}

pub fn one(connection: &Connection, id: i64) -> rusqlite::Result<Option<DeadLetter>> {
    let mut select = connection.prepare_cached(
        "SELECT id, source, received, died, reason, length(body), attempts, content_type, encoding
         FROM dead_letter WHERE id = ?1",
    )?;
    select.query_row([id], dead_letter).optional()
}

pub fn body(connection: &Connection, id: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut select = connection.prepare_cached("SELECT body FROM dead_letter WHERE id = ?1")?;
    select.query_row([id], |row| row.get(0)).optional()
}

fn dead_letter(row: &Row) -> rusqlite::Result<DeadLetter> {
    let time = |column| -> rusqlite::Result<Timestamp> {
        Ok(Timestamp::from_millisecond(row.get(column)?).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    Ok(DeadLetter {
        id: row.get(0)?,
        source: row.get(1)?,
        received: time(2)?,
        died: time(3)?,
        reason: row.get(4)?,
        bytes: row.get(5)?,
        attempts: row.get(6)?,
        content_type: row.get(7)?,
        encoding: Encoding::of(row.get_ref(8)?.as_str()?),
    })
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::Source,
        clock,
        intake::Envelope,
        spool::{Settlement, Spool},
    };

    /// A spool with these dead letters: their sources and reasons.
    async fn spool(letters: &[(Option<Source>, &str)]) -> (Spool, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 30).unwrap();
        for (source, reason) in letters {
            let envelope = Envelope {
                source: *source,
                received: Timestamp::from_millisecond(1_800_000_000_123).unwrap(),
                content_type: "text/plain".to_owned(),
                encoding: Encoding::Gzip,
                body: b"body".to_vec(),
            };
            let id = spool.append(envelope, None).await.unwrap();
            let refused = Some((*reason).to_owned());
            spool.settle(vec![Settlement { id, refused }]).await.unwrap();
        }
        (spool, dir)
    }

    fn filter(reason: Option<&str>, source: Option<&str>) -> Filter {
        Filter { reason: reason.map(str::to_owned), source: source.map(str::to_owned) }
    }

    #[tokio::test]
    async fn they_are_chosen_by_reason_and_source() {
        let (spool, _dir) = spool(&[
            (None, "not JSON: x"),
            (Some(Source::OpenSearch), "Not json: 100% y_"),
            (Some(Source::OpenSearch), "mapper_parsing_exception"),
        ])
        .await;
        for (reason, source, want) in [
            (None, None, &[1, 2, 3][..]),
            (Some("NOT JSON"), None, &[1, 2]),
            (Some("%"), None, &[2]),
            (Some("_"), Some("opensearch"), &[2, 3]),
            (Some("json"), Some("-"), &[1]),
            (None, Some("OpenSearch"), &[2, 3]),
            (None, Some("open"), &[]),
            (Some("'; DROP TABLE dead_letter; --"), None, &[]),
        ] {
            let page = spool.dead_letters(&filter(reason, source), (0, i64::MAX), 10).unwrap();
            let ids: Vec<_> = page.letters.iter().map(|letter| letter.id).collect();
            assert_eq!((ids.as_slice(), page.next), (want, None), "{reason:?} {source:?}");
        }
    }

    #[tokio::test]
    async fn one_tells_all_that_came_along() {
        let before = clock::now();
        let (spool, _dir) = spool(&[(None, "why")]).await;
        let letter = spool.dead_letters_of(&[7, 1]).unwrap().remove(0);
        assert!(letter.died.as_millisecond() >= before.as_millisecond());
        let want = DeadLetter {
            id: 1,
            source: String::new(),
            received: Timestamp::from_millisecond(1_800_000_000_123).unwrap(),
            died: letter.died,
            reason: "why".to_owned(),
            bytes: 4,
            attempts: 1,
            content_type: "text/plain".to_owned(),
            encoding: Encoding::Gzip,
        };
        assert_eq!(letter, want);
        assert_eq!(spool.dead_letter_body(1).unwrap().as_deref(), Some(&b"body"[..]));
        assert_eq!(spool.dead_letter_body(7).unwrap(), None);
    }

    #[tokio::test]
    async fn pages_have_their_bounds_and_leave_nothing_out() {
        let many = vec![(None, "common"); 2 * WINDOW + 20];
        let (spool, _dir) = spool(&many).await;
        let last = spool.last_dead_letter().unwrap();
        assert_eq!(last, 1_020);
        // A rare one far behind: nothing is found in between, and the way goes on.
        let (rare, _dir) = {
            let mut letters = many.clone();
            letters.push((None, "rare"));
            self::spool(&letters).await
        };
        let walk = |spool: &Spool, filter: &Filter, until, count| -> Vec<(usize, Option<i64>)> {
            let (mut after, mut pages) = (Some(0), Vec::new());
            while let Some(from) = after {
                let page = spool.dead_letters(filter, (from, until), count).unwrap();
                after = page.next;
                pages.push((page.letters.len(), page.next));
            }
            pages
        };
        let all = Filter::default();
        assert_eq!(
            walk(&spool, &all, last, WINDOW),
            [(WINDOW, Some(500)), (WINDOW, Some(1_000)), (20, None)]
        );
        assert_eq!(walk(&spool, &all, 7, 4), [(4, Some(4)), (3, None)]);
        assert_eq!(
            walk(&rare, &filter(Some("rare"), None), i64::MAX, 9),
            [(0, Some(500)), (0, Some(1_000)), (1, None)]
        );
    }
}

//! The document of a lease in the store: one of the hidden index [`INDEX`], read and written by its
//! id, each write only where nobody else wrote since.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::state::{Entry, Place, Seen, Write, Written};
use crate::opensearch::{Client, Error, guarded, segment};

/// The index.
pub const INDEX: &str = "alertloop-state";
/// The store takes an id of at most 512 bytes.
const LONGEST_ID: usize = 400;

/// Which document.
#[derive(Clone, Debug)]
pub struct Document {
    index: String,
    purpose: String,
    pattern: String,
}

/// What is at its place.
#[derive(Clone, Debug)]
pub enum Found {
    /// It.
    Document(Seen),
    /// Nothing.
    Nothing,
    /// Not even an index.
    NoIndex,
}

impl Document {
    /// That of the lease for `purpose` among those whose records go to the indices of `pattern`.
    #[must_use]
    pub fn new(purpose: &str, pattern: &str) -> Self {
        Self { index: INDEX.to_owned(), purpose: purpose.to_owned(), pattern: pattern.to_owned() }
    }

    /// The same in another index.
    #[must_use]
    pub fn kept_in(self, index: &str) -> Self {
        Self { index: index.to_owned(), ..self }
    }

    /// What the lease is for.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// The index that it is in.
    #[must_use]
    pub fn index(&self) -> &str {
        &self.index
    }

    /// Its path in the store.
    #[must_use]
    pub fn path(&self) -> String {
        let mut id = format!("{}:{}", self.purpose, self.pattern);
        if id.len() > LONGEST_ID {
            id = format!("{}:{}", self.purpose, blake3::hash(self.pattern.as_bytes()).to_hex());
        }
        format!("/{}/_doc/{}", self.index, segment(&id))
    }

    /// Reads it as it is, not as the last refresh saw it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read(&self, client: &Client) -> Result<Found, Error> {
        let (status, bytes) = client.exchange(Method::Get, &self.path(), None).await?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match status {
            200 => seen(&answer).map(Found::Document),
            404 if answer["found"] == false => Ok(Found::Nothing),
            404 => Ok(Found::NoIndex),
            _ => Err(Error::refused(status, &bytes)),
        }
    }

    /// Writes it where it is at the guard. The index has to be there: the store would make it with
    /// whatever settings are usual.
    ///
    /// # Errors
    /// [`Error`]: it may have been written all the same, or be written later.
    pub async fn write(&self, client: &Client, write: &Write) -> Result<Written, Error> {
        let guard = match write.guard {
            None => "op_type=create".to_owned(),
            Some(Place { seq_no, primary_term }) => {
                format!("if_seq_no={seq_no}&if_primary_term={primary_term}")
            }
        };
        let path = format!("{}?{guard}", self.path());
        let answer = match client.call(Method::Put, &path, Some(&self.body(&write.entry))).await {
            // A 404 is an index that was deleted since, where the store makes none by itself.
            Err(fault) if fault.is_conflict() || fault.is_not_found() => {
                return Ok(Written::Conflict);
            }
            answer => answer?,
        };
        let version = answer["_version"].as_u64();
        let version = version.ok_or_else(|| Error::Malformed("no _version".to_owned()))?;
        Ok(Written::Done { place: place(&answer)?, version })
    }

    fn body(&self, entry: &Entry) -> Value {
        // The payload is one text, so that nothing ever reads it as fields.
        json!({ "purpose": self.purpose, "index_pattern": self.pattern, "tenure": entry.tenure,
            "holder": entry.holder, "session": entry.session,
            "payload": entry.payload.to_string() })
    }

    /// Makes the index, where nobody else does.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn make_index(&self, client: &Client) -> Result<(), Error> {
        // Kept on one shard with a copy where there is a second node, and out of everybody's `*`.
        // Deleted documents are remembered for longer than any lease lasts; see `state`.
        let body = json!({
            "settings": { "index": { "hidden": true, "number_of_shards": 1,
                "auto_expand_replicas": "0-1", "gc_deletes": "10m" } },
            "mappings": { "dynamic": false, "properties": {
                "purpose": { "type": "keyword" }, "index_pattern": { "type": "keyword" },
                "tenure": { "type": "keyword" }, "holder": { "type": "keyword" } } }
        });
        let path = format!("/{}", self.index);
        let (status, bytes) = client.exchange(Method::Put, &path, Some(&body)).await?;
        guarded::made(status, &bytes)
    }
}

/// What was read. What is not ours to understand counts as held by nobody, so that it is replaced
/// once it has been unchanged for long enough.
fn seen(answer: &Value) -> Result<Seen, Error> {
    let source = &answer["_source"];
    let text = |name: &str| source[name].as_str().unwrap_or_default();
    let entry = Entry {
        tenure: serde_json::from_value(source["tenure"].clone()).unwrap_or_default(),
        holder: text("holder").to_owned(),
        session: text("session").to_owned(),
        payload: serde_json::from_str(text("payload")).unwrap_or_default(),
    };
    Ok(Seen { place: place(answer)?, entry })
}

fn place(answer: &Value) -> Result<Place, Error> {
    let number = |name: &str| answer[name].as_u64();
    match (number("_seq_no"), number("_primary_term")) {
        (Some(seq_no), Some(primary_term)) => Ok(Place { seq_no, primary_term }),
        _ => Err(Error::Malformed("no _seq_no or _primary_term".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::state::Tenure, *};

    #[test]
    fn an_entry_goes_through_the_document_unharmed() {
        let entry = Entry {
            tenure: Tenure::Held,
            holder: "h".to_owned(),
            session: "s".to_owned(),
            payload: json!({"a": [1, null]}),
        };
        let body = Document::new("p", "i-*").body(&entry);
        assert!(body["payload"].is_string(), "{body}");
        let answer = json!({"_seq_no": 3, "_primary_term": 2, "_source": body});
        let seen = seen(&answer).unwrap();
        assert_eq!((seen.place, seen.entry), (Place { seq_no: 3, primary_term: 2 }, entry));
    }

    #[test]
    fn what_somebody_else_wrote_is_held_by_nobody() {
        for source in [json!({}), json!({"tenure": "kept", "payload": 5}), json!({"a": "{"})] {
            let answer = json!({"_seq_no": 0, "_primary_term": 1, "_source": source});
            assert_eq!(seen(&answer).unwrap().entry, Entry::default(), "{source}");
        }
        assert!(seen(&json!({"_source": {}})).is_err());
    }

    #[test]
    fn an_id_fits_and_tells_purposes_and_patterns_apart() {
        let long = "ä".repeat(300);
        let paths =
            [("a", "s-*"), ("b", "s-*"), ("a", "t-*"), ("a", &long), ("a", &(long.clone() + "x"))]
                .map(|(purpose, pattern)| Document::new(purpose, pattern).path());
        assert!(paths.iter().all(|path| path.len() < 512), "{paths:?}");
        assert_eq!(paths.iter().collect::<std::collections::BTreeSet<_>>().len(), paths.len());
    }
}

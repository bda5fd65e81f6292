//! What was applied last, kept in a small index of the store so that every replica sees it.
//!
//! One document an object. It is written before the object is (what is `pending`) and after (what
//! the store made of it), each time only where nobody else wrote it since it was read; so it is also
//! what keeps two commands from making the same object twice.

use std::collections::BTreeMap;

use opensearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    object::{Key, Object},
    sealed::{self, Hidden},
};
use crate::opensearch::{Client, Engine, Error, builtin::indices::Index, segment};

/// The index, for the objects of the plugins.
pub const INDEX: &str = "alertloop-provisioned";
const PAGE: usize = 500;
/// What to do where it cannot be read.
const MEND: &str = "delete it, or the whole index: what is as its file says is then known again, \
                    and all else is left alone until --force";
/// The store takes an id of at most 512 bytes.
const LONGEST_ID: usize = 400;

/// What we know of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which object.
    #[serde(flatten)]
    pub key: Key,
    /// The store's id of it, once there is one.
    #[serde(default)]
    pub id: String,
    /// Whether we made it; only then may it be removed.
    #[serde(default)]
    pub made: bool,
    /// What hashes of it are keyed with.
    pub salt: String,
    /// [`sealed::digest`] of what was applied last; empty where nothing was yet.
    #[serde(default)]
    pub applied: String,
    /// What its file said then: canonical, its secrets sealed.
    #[serde(default, with = "text")]
    pub said: Value,
    /// What the store had after that: canonical, its secrets sealed.
    #[serde(default, with = "text")]
    pub observed: Value,
    /// The version of the store that this is the form of.
    #[serde(default)]
    pub store_version: String,
    /// What is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Guards of the next write; `None` before the first.
    #[serde(skip)]
    pub seen: Option<(u64, u64)>,
}

/// A write that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// [`sealed::digest`] of it.
    pub digest: String,
    /// The object's version before it; 0 before it is made.
    pub version: u64,
    /// What is written: canonical, its secrets sealed.
    #[serde(with = "text")]
    pub body: Value,
}

/// Bodies are kept as one text each: they are read back as a whole, and the index must not learn
/// their fields.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use serde_json::Value;

    pub fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}

impl Entry {
    /// The entry of an object that nobody has applied yet.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            id: String::new(),
            made: false,
            salt: format!("{:032x}", rand::random::<u128>()),
            applied: String::new(),
            said: Value::Null,
            observed: Value::Null,
            store_version: String::new(),
            pending: None,
            seen: None,
        }
    }

    /// A canonical body with its secrets sealed as this entry keeps them.
    #[must_use]
    pub fn sealed(&self, canonical: Value, hidden: &Hidden) -> Value {
        sealed::sealed(self.key.object, canonical, &self.salt, hidden)
    }

    /// A canonical body sealed where `before`, which this entry keeps, is.
    #[must_use]
    pub fn sealed_like(&self, before: &Value, canonical: Value) -> Value {
        sealed::sealed_like(before, self.key.object, canonical, &self.salt)
    }

    /// The digest of a canonical body under this entry's salt.
    #[must_use]
    pub fn digest(&self, canonical: &Value) -> String {
        sealed::digest(canonical, &self.salt)
    }

    async fn path(&self, client: &Client) -> Result<String, Error> {
        let index = index(client).await?;
        Ok(format!("/{index}/_doc/{}", segment(&document_id(&self.key))))
    }

    /// The condition under which the next write succeeds.
    fn guard(&self) -> String {
        match self.seen {
            None => "op_type=create".to_owned(),
            Some((seq_no, term)) => format!("if_seq_no={seq_no}&if_primary_term={term}"),
        }
    }
}

fn document_id(key: &Key) -> String {
    let kind = match key.object {
        Object::Template => "template",
        Object::LegacyTemplate => "legacy_template",
        Object::Channel => "channel",
        Object::Monitor => "monitor",
        Object::Workflow => "workflow",
    };
    if key.name.len() <= LONGEST_ID {
        return format!("{kind}:{}", key.name);
    }
    format!("{kind}:{}", blake3::hash(key.name.as_bytes()).to_hex())
}

/// The index: that of the built-in engine goes by its prefix, as its monitors do.
///
/// # Errors
/// [`Error`]: the store does not say whether it has the plugin.
pub async fn index(client: &Client) -> Result<String, Error> {
    Ok(match client.engine().await? {
        Engine::Plugin => INDEX.to_owned(),
        Engine::Builtin => Index::Ledger.name(client),
    })
}

/// Reads all entries; none where there is no such index yet.
///
/// # Errors
/// [`Error`].
pub async fn read(client: &Client) -> Result<BTreeMap<Key, Entry>, Error> {
    let mut all = BTreeMap::new();
    let index = index(client).await?;
    match client.call(Method::Post, &format!("/{index}/_refresh"), None).await {
        Err(fault) if fault.is_not_found() => return Ok(all),
        answer => answer?,
    };
    // By the order of writing, which needs no mapping: an index that the store made by itself, where
    // somebody deleted ours in the middle of a run, can be read as well. What is written meanwhile
    // comes once more at the end.
    let mut after: Option<Value> = None;
    loop {
        let mut body = json!({ "size": PAGE, "seq_no_primary_term": true,
            "query": { "match_all": {} }, "sort": [{ "_seq_no": "asc" }] });
        if let Some(after) = &after {
            body["search_after"] = after.clone();
        }
        let path = format!("/{index}/_search");
        let mut answer = client.call(Method::Post, &path, Some(&body)).await?;
        let hits = answer.pointer_mut("/hits/hits").map(Value::take);
        let Some(Value::Array(hits)) = hits else {
            return Err(Error::Malformed("a search without hits".to_owned()));
        };
        let is_last = hits.len() < PAGE;
        for mut hit in hits {
            after = hit.get_mut("sort").map(Value::take);
            let number = |name: &str| hit.get(name).and_then(Value::as_u64).unwrap_or(0);
            let seen = Some((number("_seq_no"), number("_primary_term")));
            let source = hit.get_mut("_source").map(Value::take).unwrap_or_default();
            let entry: Entry = serde_json::from_value(source).map_err(|fault| {
                let id = hit.get("_id").and_then(Value::as_str).unwrap_or_default();
                Error::Malformed(format!("the document {id:?}: {fault}; {MEND}"))
            })?;
            all.insert(entry.key.clone(), Entry { seen, ..entry });
        }
        if is_last {
            return Ok(all);
        }
    }
}

/// Makes the index, where it is not there.
///
/// # Errors
/// [`Error`].
pub async fn make(client: &Client) -> Result<(), Error> {
    // Kept on one shard with a copy where there is a second node, and out of everybody's `*`.
    let body = json!({
        "settings": { "index": {
            "hidden": true, "number_of_shards": 1, "auto_expand_replicas": "0-1" } },
        "mappings": { "dynamic": false, "properties": {
            "object": { "type": "keyword" }, "name": { "type": "keyword" } } }
    });
    let path = format!("/{}", index(client).await?);
    match client.call(Method::Put, &path, Some(&body)).await {
        Ok(_) => Ok(()),
        // It is there: another replica made it, or an earlier run.
        Err(fault) if fault.status() == Some(400) => {
            client.call(Method::Get, &path, None).await.map(drop)
        }
        Err(fault) => Err(fault),
    }
}

/// Writes an entry, unless somebody wrote it since it was read (409).
///
/// # Errors
/// [`Error`].
pub async fn write(client: &Client, entry: &mut Entry) -> Result<(), Error> {
    let body =
        serde_json::to_value(&*entry).map_err(|fault| Error::Malformed(fault.to_string()))?;
    let path = format!("{}?{}", entry.path(client).await?, entry.guard());
    let answer = client.call(Method::Put, &path, Some(&body)).await?;
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    entry.seen = number("_seq_no").zip(number("_primary_term"));
    Ok(())
}

/// The guards that an entry has now, read as it is (not as the last refresh saw it); `None` where it
/// is gone.
///
/// # Errors
/// [`Error`].
pub async fn seen_now(client: &Client, entry: &Entry) -> Result<Option<(u64, u64)>, Error> {
    match client.call(Method::Get, &entry.path(client).await?, None).await {
        Err(fault) if fault.is_not_found() => Ok(None),
        answer => {
            let answer = answer?;
            let number = |name: &str| answer.get(name).and_then(Value::as_u64);
            Ok(number("_seq_no").zip(number("_primary_term")))
        }
    }
}

/// Removes an entry, unless somebody wrote it since it was read (409).
///
/// # Errors
/// [`Error`].
pub async fn remove(client: &Client, entry: &Entry) -> Result<(), Error> {
    let path = format!("{}?{}", entry.path(client).await?, entry.guard());
    match client.call(Method::Delete, &path, None).await {
        Err(fault) if !fault.is_not_found() => Err(fault),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_goes_through_the_index_unharmed() -> Result<(), serde_json::Error> {
        let mut entry = Entry::new(Key::new(Object::Monitor, "a/b \"c\""));
        entry.observed = json!({"a": [1, {"b": null}]});
        let pending = Pending { digest: "d".to_owned(), version: 3, body: json!({"x": 1}) };
        entry.pending = Some(pending);
        let kept = serde_json::to_value(&entry)?;
        assert!(kept["observed"].is_string() && kept["object"] == "monitor", "{kept}");
        assert_eq!(serde_json::from_value::<Entry>(kept)?, entry);
        Ok(())
    }

    #[test]
    fn a_document_id_fits_and_differs() {
        let long = "ä".repeat(300);
        let ids = [
            document_id(&Key::new(Object::Monitor, "a")),
            document_id(&Key::new(Object::Workflow, "a")),
            document_id(&Key::new(Object::Monitor, long.clone())),
            document_id(&Key::new(Object::Monitor, long + "x")),
        ];
        assert!(ids.iter().all(|id| id.len() < 512));
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }
}

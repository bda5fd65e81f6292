//! `POST /_bulk`: building the request and reading the answer, item by item.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, Error};

/// How often the store repeats a scripted update that met another one, before it answers 409.
const UPDATE_RETRIES: u8 = 3;

/// What is done with one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Written unless it is there (then 409).
    Create,
    /// Written over what is there.
    Index,
    /// Given to a Painless script as `params.state`, or written where nothing is there.
    Script(&'a str),
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_on_conflict: Option<u8>,
}

/// Appends one operation to a bulk body; `document` is JSON on one line.
pub fn push(body: &mut Vec<u8>, action: Action, index: &str, id: &str, document: &str) {
    let verb = match action {
        Action::Create => "create",
        Action::Index => "index",
        Action::Script(_) => "update",
    };
    let target = Target {
        index,
        id,
        retry_on_conflict: matches!(action, Action::Script(_)).then_some(UPDATE_RETRIES),
    };
    for part in ["{\"", verb, "\":"] {
        body.extend_from_slice(part.as_bytes());
    }
    // Writing texts and a number into memory cannot fail.
    serde_json::to_writer(&mut *body, &target).ok();
    body.extend_from_slice(b"}\n");
    if let Action::Script(source) = action {
        let source = Value::from(source).to_string();
        for part in [
            r#"{"script":{"lang":"painless","source":"#,
            &source,
            r#","params":{"state":"#,
            document,
            r#"}},"upsert":"#,
            document,
            "}",
        ] {
            body.extend_from_slice(part.as_bytes());
        }
    } else {
        body.extend_from_slice(document.as_bytes());
    }
    body.push(b'\n');
}

/// The answer to one operation.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Item {
    /// The HTTP status that the operation would have had alone.
    pub status: u16,
    #[serde(rename = "_index")]
    /// Where the document is.
    pub index: String,
    #[serde(rename = "_id")]
    /// Its id.
    pub id: String,
    #[serde(rename = "_version")]
    /// How often it was written.
    pub version: Option<u64>,
    /// `created`, `updated` or `noop`.
    pub result: Option<String>,
    #[serde(rename = "_seq_no")]
    /// The write's number in its shard.
    pub seq_no: Option<i64>,
    #[serde(rename = "_primary_term")]
    /// The shard's term.
    pub primary_term: Option<i64>,
    #[serde(rename = "_shards")]
    /// How many copies were written.
    pub shards: Option<Shards>,
    /// Why it was not written.
    pub error: Option<Cause>,
}

/// How many copies of a document were to be written, and were.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Shards {
    total: u32,
    successful: u32,
    failed: u32,
}

/// The store's reason, with the reason below it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Cause {
    /// The exception's name.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The exception's message.
    pub reason: Option<String>,
    /// What caused it.
    pub caused_by: Option<Box<Cause>>,
}

impl Cause {
    /// Reason and causes in one line.
    #[must_use]
    pub fn text(&self) -> String {
        let own = match (&self.kind, &self.reason) {
            (Some(kind), Some(reason)) => format!("{kind}: {reason}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => "no reason given".to_owned(),
        };
        match &self.caused_by {
            Some(below) => format!("{own}; caused by {}", below.text()),
            None => own,
        }
    }
}

impl Item {
    /// The item as the single-document API would have answered it.
    #[must_use]
    pub fn as_index_answer(&self) -> Value {
        json!({
            "_index": self.index, "_id": self.id, "_version": self.version,
            "result": self.result, "_shards": self.shards,
            "_seq_no": self.seq_no, "_primary_term": self.primary_term,
        })
    }
}

/// Reads a bulk answer, which must hold one item for each of `count` operations, in their order.
///
/// # Errors
/// [`Error::Malformed`] when it does not: then nothing is known of any operation.
pub fn read(answer: &[u8], count: usize) -> Result<Vec<Item>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        items: Vec<ByVerb>,
    }
    #[derive(Deserialize)]
    struct ByVerb {
        #[serde(alias = "index", alias = "update", alias = "delete")]
        create: Item,
    }
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|fault| Error::Malformed(fault.to_string()))?;
    if answer.items.len() != count {
        let have = answer.items.len();
        return Err(Error::Malformed(format!("{have} items for {count} operations")));
    }
    Ok(answer.items.into_iter().map(|item| item.create).collect())
}

impl Client {
    /// Sends a bulk body of `count` operations.
    ///
    /// An operation on a shard that is nowhere is answered with 503 after half the limit of a call: the
    /// store itself would wait for a minute, and the whole request would have no answer.
    ///
    /// # Errors
    /// [`Error`] when the request as a whole failed; an operation's failure is in its [`Item`].
    pub async fn bulk(&self, body: Bytes, count: usize) -> Result<Vec<Item>, Error> {
        let path = format!("_bulk?timeout={}ms", self.timeout.as_millis() / 2);
        let answer = self.send_ndjson(&path, body).await?;
        read(&answer, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_two_lines_each() {
        let mut body = Vec::new();
        push(&mut body, Action::Create, "i-1", "a\"b", r#"{"x":1}"#);
        push(&mut body, Action::Script("ctx.op = 'none'"), "i-1", "b", r#"{"x":2}"#);
        let lines: Vec<Value> = std::str::from_utf8(&body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0], json!({"create": {"_index": "i-1", "_id": "a\"b"}}));
        assert_eq!(lines[1], json!({"x": 1}));
        assert_eq!(lines[2]["update"]["retry_on_conflict"], json!(3));
        assert_eq!(lines[3]["script"]["params"]["state"], json!({"x": 2}));
        assert_eq!(lines[3]["upsert"], json!({"x": 2}));
    }

    #[test]
    fn an_answer_is_read_item_by_item() {
        let answer = json!({"took": 3, "errors": true, "items": [
            {"create": {"_index": "i", "_id": "a", "_version": 1, "result": "created",
                        "_seq_no": 0, "_primary_term": 1, "status": 201}},
            {"update": {"_index": "i", "_id": "b", "status": 400, "error": {
                "type": "mapper_parsing_exception", "reason": "failed to parse",
                "caused_by": {"type": "illegal_argument_exception", "reason": "not an IP"}}}},
        ]});
        let items = read(answer.to_string().as_bytes(), 2).unwrap();
        assert_eq!((items[0].status, items[0].result.as_deref()), (201, Some("created")));
        let reason = items[1].error.as_ref().map(Cause::text).unwrap();
        assert!(reason.ends_with("caused by illegal_argument_exception: not an IP"), "{reason}");
    }

    #[test]
    fn half_an_answer_tells_nothing() {
        for (answer, count) in [
            (r#"{"items":[{"create":{"_index":"i","_id":"a","status":201}}]}"#, 2),
            (r#"{"items":[{"create":{"_index":"i","_id":"a","sta"#, 1),
            (r#"{"items":[{}]}"#, 1),
            ("{}", 0),
        ] {
            assert!(matches!(read(answer.as_bytes(), count), Err(Error::Malformed(_))), "{answer}");
        }
    }
}

//! Records → `_bulk` → outcomes. Each record is written by the cheapest operation that is safe to
//! repeat: `create` first, and only if the document is there already, the merge script.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use metrics::{counter, histogram};
use serde_json::Value;

use super::outcome::{self, Outcome, RequestFault};
use crate::{
    lifecycle::MERGE_SCRIPT,
    opensearch::{Client, bulk, bulk::Action, bulk::Item},
    record::{Record, Write, misfit},
    series::REPLACE_SCRIPT,
    telemetry,
};

/// A bulk request grows to at most about this many bytes.
const REQUEST_BYTES: usize = 8 << 20;
/// How often a record is sent again at once: as a merge, or without a value that does not fit.
const ROUNDS: usize = 10;

/// A record ready to be sent.
pub struct Operation {
    /// `_index`.
    pub index: String,
    /// `_id`.
    pub id: String,
    /// How it is written.
    pub write: Write,
    document: String,
}

impl From<Record> for Operation {
    fn from(record: Record) -> Self {
        let Record { index, id, write, document } = record;
        Self { index, id, write, document }
    }
}

impl Operation {
    /// Leaves out the value that the store refuses for its field; tells whether there was one.
    fn leave_out_misfit(&mut self, item: &Item) -> bool {
        let Some(field) = outcome::misfit(item) else { return false };
        let Ok(Value::Object(mut document)) = serde_json::from_str(&self.document) else {
            return false;
        };
        let left_out = misfit::leave_out(&mut document, &field);
        if left_out {
            self.document = Value::Object(document).to_string();
        }
        left_out
    }
}

/// What became of an operation, and the store's answer to it, if it gave one.
pub type Answer = (Outcome, Option<Item>);

/// Sends all operations; `answers[n]` is that of `operations[n]`. A document with a value that does
/// not fit its field is sent again without it (`record::misfit`).
///
/// # Errors
/// The reason, when the store takes no request at all now; then some may be stored already, which
/// does no harm: they are safe to repeat.
pub async fn send(client: &Client, operations: &mut [Operation]) -> Result<Vec<Answer>, String> {
    let mut answers: Vec<Option<Answer>> = operations.iter().map(|_| None).collect();
    let mut merging = vec![false; operations.len()];
    let mut todo: Vec<usize> = (0..operations.len()).collect();
    for _ in 0..ROUNDS {
        let action = |n: usize, operation: &Operation| match operation.write {
            Write::Overwrite => Action::Index,
            Write::Merge if merging[n] => Action::Script(MERGE_SCRIPT),
            Write::Replace => Action::Script(REPLACE_SCRIPT),
            Write::Create | Write::Merge => Action::Create,
        };
        round(client, operations, &todo, action, &mut answers).await?;
        todo.retain(|&n| {
            let operation = &mut operations[n];
            match &answers[n] {
                Some((Outcome::Exists, _)) if operation.write == Write::Merge => {
                    !std::mem::replace(&mut merging[n], true)
                }
                Some((Outcome::Exists, _)) => operation.write == Write::Replace,
                Some((Outcome::Refused(_), Some(item))) => operation.leave_out_misfit(item),
                _ => false,
            }
        });
        if todo.is_empty() {
            break;
        }
    }
    let settled = |(merging, answer): (bool, Option<Answer>)| match answer {
        Some((Outcome::Exists, item)) if merging => {
            (Outcome::Busy("409 another writer was faster, again and again".to_owned()), item)
        }
        Some(answer) => answer,
        None => (Outcome::Busy("the store gave no answer for it".to_owned()), None),
    };
    let scripted = operations.iter().zip(merging);
    let scripted = scripted.map(|(one, merging)| merging || one.write == Write::Replace);
    Ok(scripted.zip(answers).map(settled).collect())
}

/// Sends the operations numbered `chosen`, in requests of bounded size.
async fn round(
    client: &Client,
    operations: &[Operation],
    chosen: &[usize],
    action: impl Fn(usize, &Operation) -> Action<'static>,
    answers: &mut [Option<Answer>],
) -> Result<(), String> {
    let mut todo = requests(operations, chosen);
    todo.reverse();
    while let Some(range) = todo.pop() {
        let part = &chosen[range.clone()];
        let mut body = Vec::with_capacity(part.len() * 1_024);
        for &n in part {
            let operation = &operations[n];
            bulk::push(
                &mut body,
                action(n, operation),
                &operation.index,
                &operation.id,
                &operation.document,
            );
        }
        let started = tokio::time::Instant::now();
        let result = client.bulk(Bytes::from(body), part.len()).await;
        observe(started.elapsed());
        match result.map_err(|fault| RequestFault::of(&fault)) {
            Ok(items) => {
                for (&n, item) in part.iter().zip(items) {
                    answers[n] = Some((Outcome::of(&item), Some(item)));
                }
            }
            Err(RequestFault::Busy(reason)) => return Err(reason),
            Err(RequestFault::Split(reason)) if part.len() == 1 => {
                answers[part[0]] = Some((Outcome::Refused(reason), None));
            }
            Err(RequestFault::Split(_)) => {
                let middle = range.start + part.len() / 2;
                todo.push(middle..range.end);
                todo.push(range.start..middle);
            }
        }
    }
    Ok(())
}

/// Cuts `chosen` into runs whose bodies keep the bound (one large document is a run of its own).
fn requests(operations: &[Operation], chosen: &[usize]) -> Vec<Range<usize>> {
    let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (position, &n) in chosen.iter().enumerate() {
        let size = operations[n].document.len() + 256;
        if bytes + size > REQUEST_BYTES && position > start {
            runs.push(start..position);
            (start, bytes) = (position, 0);
        }
        bytes += size;
    }
    if start < chosen.len() {
        runs.push(start..chosen.len());
    }
    runs
}

fn observe(took: Duration) {
    counter!(telemetry::BULK_REQUESTS).increment(1);
    histogram!(telemetry::BULK_SECONDS).record(took);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(bytes: usize) -> Operation {
        let document = "x".repeat(bytes);
        Operation { index: "i".to_owned(), id: "a".to_owned(), write: Write::Create, document }
    }

    #[test]
    fn requests_keep_their_bound_and_leave_nothing_out() {
        let operations: Vec<_> =
            [10, 5 << 20, 5 << 20, 20 << 20, 10].map(operation).into_iter().collect();
        let runs = requests(&operations, &[0, 1, 2, 3, 4]);
        assert_eq!(runs, [0..2, 2..3, 3..4, 4..5]);
        assert!(requests(&operations, &[]).is_empty());
    }
}

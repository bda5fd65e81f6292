//! `GET /dead-letters` and `/dead-letters/{id}`; `POST /dead-letters/replay` and `/dead-letters/drop`,
//! which asks back before it drops.

use std::{net::SocketAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{
        self, ConnectInfo, Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, Uri},
    response::Response,
};
use serde::Deserialize;
use tokio::task::block_in_place;
use tracing::info;

use super::{
    form::{Fields, Raw},
    frame::{Frame, page},
    number, see_other,
    shown::{When, bytes, count},
    told::Told,
};
use crate::{
    dead_letters::{self, Item, Selection, Tally},
    http::{
        ApiError, State,
        caller::{Admin, Operator, Reader},
    },
    spool::Filter,
};

/// How many dead letters a page has.
const PAGE: usize = 50;
/// How much of a body is shown, in bytes.
const BODY: usize = 64 << 10;

/// The field with the number of the last one that was there when somebody asked to drop all.
const SEEN: &str = "last";

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    reason: String,
    source: String,
    after: Option<i64>,
}

/// A dead letter in the list.
struct Row {
    id: i64,
    reason: String,
    source: String,
    received: When,
    size: String,
    attempts: u64,
}

impl Row {
    fn of(item: &Item) -> Self {
        let source = if item.source.is_empty() { "not named" } else { &item.source };
        Self {
            id: item.id,
            reason: item.reason.clone(),
            source: source.to_owned(),
            received: When::of(&item.received_at),
            size: bytes(item.bytes),
            attempts: item.attempts,
        }
    }
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLetters {
    frame: Frame,
    rows: Vec<Row>,
    reason: String,
    source: String,
    is_filtered: bool,
    which: Vec<(&'static str, String)>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "dead_letter.html")]
struct DeadLetter {
    frame: Frame,
    row: Row,
    died: When,
    content_type: String,
    body: String,
    is_cut: bool,
    shown_size: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    frame: Frame,
    question: String,
    what: &'static str,
    action: &'static str,
    fields: Vec<(&'static str, String)>,
    button: &'static str,
    back: String,
}

/// The list.
pub async fn list(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let filter = Filter { reason: given(&asked.reason), source: given(&asked.source) };
    let after = asked.after.unwrap_or(0);
    let found = block_in_place(|| dead_letters::list(&state.spool, &filter, after, PAGE))?;
    let frame = Frame::of(&state, &caller, &uri, "Dead letters");
    let next = found.next.filter(|_| found.items.len() == PAGE).map(|after| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("reason", &asked.reason), ("source", &asked.source)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.append_pair("after", &after.to_string()).finish();
        format!("{}dead-letters?{query}", frame.base)
    });
    let is_filtered = filter != Filter::default();
    let which = match (&filter.reason, &filter.source) {
        (None, None) => vec![("all", "yes".to_owned())],
        (Some(reason), None) => vec![("reason", reason.clone())],
        (None, Some(source)) => vec![("source", source.clone())],
        // Both at once is what nothing but a list of numbers can say.
        (Some(_), Some(_)) => found.items.iter().map(|item| ("id", item.id.to_string())).collect(),
    };
    Ok(page(
        StatusCode::OK,
        &DeadLetters {
            frame,
            rows: found.items.iter().map(Row::of).collect(),
            reason: asked.reason,
            source: asked.source,
            is_filtered,
            which,
            next,
        },
    ))
}

/// One, with its body.
pub async fn show(
    Reader(caller): Reader,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = number(id)?;
    let found = block_in_place(|| dead_letters::show(&state.spool, id, state.body_limit))?;
    let none =
        || ApiError::NotFound(format!("there is no dead letter {id}; it was replayed or dropped"));
    let whole = found.ok_or_else(none)?;
    let frame = Frame::of(&state, &caller, &uri, format!("Dead letter {id}"));
    let binary = || whole.body_base64.as_ref().map(|text| format!("not text; as Base64:\n{text}"));
    let mut body = whole.body.clone().or_else(binary).unwrap_or_default();
    let is_cut = body.len() > BODY;
    body.truncate(body.floor_char_boundary(BODY));
    Ok(page(
        StatusCode::OK,
        &DeadLetter {
            frame,
            died: When::of(&whole.item.died_at),
            content_type: whole.content_type,
            row: Row::of(&whole.item),
            shown_size: bytes(u64::try_from(body.len()).unwrap_or(u64::MAX)),
            body,
            is_cut,
        },
    ))
}

/// Makes them entries of the spool again.
pub async fn replay(
    Operator(caller): Operator,
    extract::State(state): extract::State<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    form: Raw,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&state, &caller, form)?;
    let selection = selection(&fields)?;
    let mut tally = Tally::default();
    let outcome = dead_letters::replay(&state.spool, &selection, &mut tally).await;
    info!(count = tally.done, selection = %selection, client.address = %peer.ip(), user.name = caller.name, "dead letters are replayed");
    outcome.map_err(|fault| ApiError::Unfinished { done: tally.done, cause: fault.to_string() })?;
    Ok(see_other(&format!("../dead-letters?{}", Told::Replayed(tally.done, tally.left).query())))
}

/// Asks back, and with `sure` removes them for good.
pub async fn discard(
    Admin(caller): Admin,
    extract::State(state): extract::State<Arc<State>>,
    uri: Uri,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    form: Raw,
) -> Result<Response, ApiError> {
    let fields = Fields::of(&state, &caller, form)?;
    let selection = selection(&fields)?;
    if fields.get("sure") != Some("yes") {
        let frame = Frame::of(&state, &caller, &uri, "Drop dead letters?");
        let last = block_in_place(|| state.spool.last_dead_letter())?;
        return Ok(page(StatusCode::OK, &confirm(frame, &selection, last)));
    }
    let mut tally = Tally::default();
    // What comes while somebody thinks it over is not meant.
    let last = fields.numbers(SEEN)?.first().copied().unwrap_or(i64::MAX);
    let outcome = dead_letters::discard_seen(&state.spool, &selection, last, &mut tally).await;
    info!(count = tally.done, selection = %selection, client.address = %peer.ip(), user.name = caller.name, "dead letters are dropped");
    outcome.map_err(|fault| ApiError::Unfinished { done: tally.done, cause: fault.to_string() })?;
    Ok(see_other(&format!("../dead-letters?{}", Told::Dropped(tally.done).query())))
}

fn confirm(frame: Frame, selection: &Selection, last: i64) -> Confirm {
    let (question, mut fields, back) = match selection {
        Selection::Ids(ids) => {
            let question = match ids.as_slice() {
                [id] => format!("Drop dead letter {id}?"),
                ids => {
                    format!("Drop {}?", count(u64::try_from(ids.len()).unwrap_or(0), "dead letter"))
                }
            };
            let back = match ids.as_slice() {
                [id] => format!("dead-letters/{id}"),
                _ => "dead-letters".to_owned(),
            };
            (question, ids.iter().map(|id| ("id", id.to_string())).collect(), back)
        }
        Selection::Reason(text) => (
            format!("Drop all dead letters whose reason contains “{text}”?"),
            vec![("reason", text.clone())],
            "dead-letters".to_owned(),
        ),
        Selection::Source(name) => (
            format!("Drop all dead letters of the source “{name}”?"),
            vec![("source", name.clone())],
            "dead-letters".to_owned(),
        ),
        Selection::All => {
            let all = vec![("all", "yes".to_owned())];
            ("Drop all dead letters?".to_owned(), all, "dead-letters".to_owned())
        }
    };
    fields.push((SEEN, last.to_string()));
    Confirm {
        frame,
        question,
        what: "What is dropped is gone for good: no record was made of it, and none will be.",
        action: "dead-letters/drop",
        fields,
        button: "Drop for good",
        back,
    }
}

/// Which ones a form means, in exactly one way.
fn selection(fields: &Fields) -> Result<Selection, ApiError> {
    let ids = fields.numbers("id")?;
    match (ids.is_empty(), fields.get("reason"), fields.get("source"), fields.get("all")) {
        (false, None, None, None) => Ok(Selection::Ids(ids)),
        (true, Some(reason), None, None) => Ok(Selection::Reason(reason.to_owned())),
        (true, None, Some(source), None) => Ok(Selection::Source(source.to_owned())),
        (true, None, None, Some("yes")) => Ok(Selection::All),
        _ => Err(ApiError::BadRequest("say which dead letters, in exactly one way".to_owned())),
    }
}

//! `GET /events`: what is new, as server-sent events. A browser that reads slowly is not waited for,
//! and costs no more than its place.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until},
};

use super::feed::{Feed, HEARTBEAT, LIFE, Listener, heartbeat};
use crate::{
    clock,
    http::{ApiError, State, caller::Reader},
};

/// How soon a browser comes back, in ms.
const RETRY: &str = "retry: 2000\n\n";

/// 200 and a stream; 503 while as many are open as may be: then the page asks for itself.
pub async fn get(
    _: Reader,
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let feed = Arc::clone(&state.page.feed);
    let Some(listener) = feed.listen(last) else {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")]).into_response());
    };
    let kind = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would hold events back until it has a buffer full.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((kind, Body::from_stream(events(feed, listener))).into_response())
}

fn events(
    feed: Arc<Feed>,
    listener: Listener,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    let ends = Instant::now() + LIFE;
    let (closed, begin) = (feed.closed(), Some(Bytes::from_static(RETRY.as_bytes())));
    let place = (feed, listener, closed, begin);
    stream::unfold(place, move |(feed, mut listener, closed, begin)| async move {
        if let Some(begin) = begin {
            return Some((Ok(begin), (feed, listener, closed, None)));
        }
        let text = if let Some(event) = listener.missed.pop_front() {
            event.text
        } else {
            let beat = Instant::now() + HEARTBEAT;
            tokio::select! {
                () = closed.cancelled() => return None,
                () = sleep_until(ends) => return None,
                () = sleep_until(beat) => heartbeat(clock::now()),
                event = listener.receiver.recv() => match event {
                    Ok(event) => event.text,
                    Err(RecvError::Lagged(_)) => {
                        listener.receiver = listener.receiver.resubscribe();
                        feed.again().text
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        };
        Some((Ok(text), (feed, listener, closed, None)))
    })
}

//! What a handler leaves unread of a body is thrown away for a moment after the answer. A connection that
//! is closed while the other side still sends is reset, and the answer can be lost with it (RFC 9112,
//! 9.6): a sender with a wrong secret would see a broken connection in place of its 401.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{runtime::Handle, time::timeout};

/// How long the rest of a body may take.
const REST: Duration = Duration::from_secs(5);

/// The same request; once its body is dropped, the rest of it is thrown away.
pub(super) fn thrown_away(request: Request) -> Request {
    // Who asks whether to send a body is told by the answer.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(Whole { body, is_over: false }))
}

/// A body that is read to its end, by whoever.
struct Whole {
    body: Body,
    is_over: bool,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if self.is_over || self.body.is_end_stream() {
            return;
        }
        let mut body = mem::take(&mut self.body);
        let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(REST, rest));
        }
    }
}

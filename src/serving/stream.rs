//! A connection that ends when it has to: when its place is needed, or nobody reads what is sent.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::crowd::Place;

/// How long somebody may take for the next piece of an answer.
const READS_WITHIN: Duration = Duration::from_secs(30);

/// A TCP connection within its bounds.
pub struct Guarded {
    stream: TcpStream,
    place: Arc<Place>,
    /// While something waits to be sent.
    unread: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    pub(super) const fn new(stream: TcpStream, place: Arc<Place>) -> Self {
        Self { stream, place, unread: None }
    }

    /// Whether the other side is this very machine.
    pub(super) fn is_of_this_machine(&self) -> bool {
        let [peer, own] = [self.stream.peer_addr(), self.stream.local_addr()];
        let ip = |address: io::Result<std::net::SocketAddr>| -> Option<IpAddr> {
            address.ok().map(|address| address.ip().to_canonical())
        };
        let peer = ip(peer);
        peer.is_some_and(|peer| peer.is_loopback()) || (peer.is_some() && peer == ip(own))
    }

    /// The first byte, which stays to be read; `None` where the other side says nothing and ends.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let read = self.stream.peek(&mut byte);
        let over = std::future::poll_fn(|context| {
            if self.place.is_over(context.waker()) { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            read = read => Ok((read? > 0).then_some(byte[0])),
            () = over => Err(made_room()),
        }
    }

    /// What came of sending, unless nobody has read for too long.
    fn in_time(
        &mut self,
        context: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if sent.is_ready() {
            self.unread = None;
            return sent;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(READS_WITHIN)));
        ready!(unread.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads the answer")))
    }
}

fn made_room() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "others need the room")
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.place.leave();
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.place.is_over(context.waker()) {
            return Poll::Ready(Err(made_room()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.in_time(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

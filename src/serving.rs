//! The server: from the bound address to requests, within bounds. How many connections there may be
//! is in [`crowd`], what a connection may take of time in `stream`, TLS in `handshake`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, body::Body, extract::connect_info::Connected};
use axum_server::{AddrListener, Address, Handle};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::{http::proxies::Proxies, tls::Tls};
use crowd::{Crowd, Place};
use stream::Guarded;

pub mod crowd;
mod descriptors;
mod handshake;
mod stream;

/// How long a sender may take for the headers of a request, and may keep a connection open between
/// two requests.
const HEADERS: Duration = Duration::from_secs(10);
/// The most bytes that the headers of a request may have: more is 431.
const HEADER_BYTES: usize = 64 << 10;
/// The most headers that a request may have: more is 431.
const HEADER_COUNT: usize = 100;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// One connection: where it came from, and its place among all.
#[derive(Clone)]
pub struct Connection {
    peer: SocketAddr,
    place: Arc<Place>,
}

impl Connection {
    /// Where it came from: the sender, or the last proxy.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Says that it does something, until what is returned is dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.place.begin();
        Busy(Arc::clone(&self.place))
    }

    /// Counts as one that says nothing while a request of it does this.
    pub async fn waiting<T>(&self, what: impl Future<Output = T>) -> T {
        self.place.end();
        let outcome = what.await;
        self.place.begin();
        outcome
    }
}

impl Connected<Self> for Connection {
    fn connect_info(connection: Self) -> Self {
        connection
    }
}

/// A connection that answers a request.
pub struct Busy(Arc<Place>);

impl Busy {
    /// The same body, with which it ends.
    pub fn until_the_end_of(self, body: Body) -> Body {
        Body::new(body.inspect_frame(move |_| {
            // It is here to be dropped with the body.
            let _in_use = &self;
        }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// From one address; those of trusted proxies are not counted.
    pub per_address: usize,
}

/// The bound address, before it is served.
pub struct Doorway {
    listener: TcpListener,
    crowd: Arc<Crowd>,
}

impl Doorway {
    /// Binds an address.
    ///
    /// # Errors
    /// When it is not free.
    pub fn bind(address: SocketAddr, limits: Limits, proxies: Proxies) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let limits = descriptors::within(limits);
        Ok(Self { listener, crowd: Arc::new(Crowd::new(limits, proxies)) })
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Address for Connection {
    type Stream = Guarded;
    type Listener = Doorway;
}

impl AddrListener<Guarded, Connection> for Doorway {
    async fn bind_to(_: Connection) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "it is bound before"))
    }

    async fn accept_stream(&self) -> io::Result<(Guarded, Connection)> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            // Too many, and all of them busy: this one is closed at once.
            let Some(place) = Crowd::admit(&self.crowd, peer.ip()) else { continue };
            // A connection that is gone already is told by its first read.
            stream.set_nodelay(true).ok();
            return Ok((Guarded::new(stream, Arc::clone(&place)), Connection { peer, place }));
        }
    }

    fn get_local_addr(&self) -> io::Result<Connection> {
        Ok(Connection { peer: self.address()?, place: Arc::default() })
    }
}

/// Serves until the handle ends it; `closing` is told with that.
///
/// # Errors
/// When it ends by itself.
pub async fn serve(
    doorway: Doorway,
    router: Router,
    tls: Option<Tls>,
    (handle, closing): (Handle<Connection>, CancellationToken),
) -> anyhow::Result<()> {
    let mut server =
        axum_server::Server::<Connection>::from_listener(doorway).http1_only().handle(handle);
    let http = server.http_builder();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_COUNT);
    let service = router.into_make_service_with_connect_info::<Connection>();
    let outcome = match tls {
        Some(tls) => {
            let handshake = handshake::Handshake::new(tls, closing);
            server.map(|_| handshake).serve(service).await
        }
        None => server.serve(service).await,
    };
    outcome.context("the HTTP server")
}

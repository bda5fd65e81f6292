//! From a connection to one with TLS; somebody who speaks plain HTTP is told so.

use std::{io, pin::Pin, time::Duration};

use axum_server::{accept::Accept, tls_rustls::RustlsAcceptor};
use metrics::counter;
use tokio::{
    io::AsyncWriteExt as _,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::stream::Guarded;
use crate::{telemetry, tls::Tls};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long one may still take when the service stops.
const LAST: Duration = Duration::from_secs(1);
/// The first byte of a TLS connection: a record of its handshake (RFC 8446, 5.1).
const RECORD: u8 = 22;
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 61\r\nConnection: close\r\n\r\n{\"error\":\"this port speaks TLS: use https:// in the address\"}";

/// Accepts connections with TLS.
#[derive(Clone)]
pub(super) struct Handshake {
    tls: Tls,
    closing: CancellationToken,
}

impl Handshake {
    /// `closing` tells that the service stops: who then says nothing is not waited for.
    pub(super) const fn new(tls: Tls, closing: CancellationToken) -> Self {
        Self { tls, closing }
    }
}

impl<S: Send + 'static> Accept<Guarded, S> for Handshake {
    type Stream = <RustlsAcceptor as Accept<Guarded, S>>::Stream;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: Guarded, service: S) -> Self::Future {
        let config = self.tls.config(stream.is_of_this_machine());
        let closing = self.closing.clone();
        Box::pin(async move {
            let accepted = timeout(HANDSHAKE, async {
                let stream = only_tls(stream).await?;
                RustlsAcceptor::new(config).accept(stream, service).await
            });
            let accepted = tokio::select! {
                accepted = accepted => accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                () = async { closing.cancelled().await; sleep(LAST).await } => {
                    Err(io::ErrorKind::TimedOut.into())
                }
            };
            if let Err(fault) = &accepted {
                counter!(telemetry::FAILED_HANDSHAKES).increment(1);
                tracing::debug!(error = %fault, "a TLS handshake did not come to its end");
            }
            accepted
        })
    }
}

/// The same connection, unless it begins with something that is no TLS.
async fn only_tls(mut stream: Guarded) -> io::Result<Guarded> {
    match stream.first_byte().await? {
        Some(RECORD) => Ok(stream),
        Some(first) => {
            if first.is_ascii_alphabetic() {
                stream.write_all(PLAIN).await?;
                stream.shutdown().await?;
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks no TLS"))
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plain_http_is_told_has_the_length_that_it_says() {
        let text = str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}

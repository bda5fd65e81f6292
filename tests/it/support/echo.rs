//! Servers that refuse everything, and repeat in the answer all that they were sent: what they are
//! given in secret comes back, and must not be shown.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One that speaks HTTP, as OpenSearch refuses.
pub struct Echo {
    address: std::net::SocketAddr,
    status: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Echo {
    /// Starts it; it answers with this status.
    pub async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let status = Arc::new(AtomicU16::new(status));
        let router = Router::new().fallback(repeat).with_state(Arc::clone(&status));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.ok();
        });
        Self { address, status, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers with this status.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn repeat(
    State(status): State<Arc<AtomicU16>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let body = String::from_utf8_lossy(&body);
    let reason = format!("you sent {uri} with {} and {body}", headers.join(", "));
    let status = StatusCode::from_u16(status.load(Ordering::Relaxed)).expect("a status");
    let text = json!({"error": {"type": "repeated", "reason": reason}, "status": status.as_u16()});
    (status, Json(text)).into_response()
}

/// One that speaks SMTP, and refuses each login.
pub struct MailEcho {
    port: u16,
    task: JoinHandle<()>,
}

impl MailEcho {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // An error is the other side's going away.
                tokio::spawn(async move { refuse(near).await.ok() });
            }
        });
        Self { port, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for MailEcho {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn refuse(near: TcpStream) -> std::io::Result<()> {
    let mut near = BufReader::new(near);
    near.write_all(b"220 mail.test\r\n").await?;
    let mut line = String::new();
    while near.read_line(&mut line).await? > 0 {
        let said = line.trim_end();
        let answer = match said.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
            "QUIT" => return near.write_all(b"221 bye\r\n").await,
            _ => format!("535 5.7.8 refused: {said}\r\n"),
        };
        near.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

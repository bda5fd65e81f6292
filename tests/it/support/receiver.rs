//! An HTTP server that callbacks post to, which answers as it is told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Inner {
    received: Mutex<Vec<Received>>,
    /// What is answered, by path; 200 where nothing is said, never with 0.
    answers: Mutex<HashMap<String, u16>>,
}

pub struct Receiver {
    inner: Arc<Inner>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let inner = Arc::<Inner>::default();
        let router = Router::new().route("/{path}", any(take)).with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self { inner, address, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// From now on requests to this path are answered so; with 0, they hang.
    pub fn answer(&self, path: &str, status: u16) {
        let mut answers = self.inner.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(path.to_owned(), status);
    }

    /// What came to this path.
    pub fn received(&self, path: &str) -> Vec<Received> {
        let received = self.inner.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|one| one.path == path).cloned().collect()
    }

    /// Waits until so many came to this path.
    pub async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        let begun = Instant::now();
        loop {
            let received = self.received(path);
            if received.len() >= count {
                return received;
            }
            assert!(begun.elapsed() < PATIENCE, "{} of {count} came to {path}", received.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(inner): State<Arc<Inner>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let status = {
        let answers = inner.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&path).copied().unwrap_or(200)
    };
    let one = Received { at: Instant::now(), path, headers, body };
    inner.received.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(status).expect("a status");
    (status, format!("the answer is {status}")).into_response()
}

//! A proxy before the three nodes, that gives each request to the next one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
};

/// The proxy.
pub struct RoundRobin {
    url: String,
}

struct Nodes {
    client: reqwest::Client,
    urls: Vec<String>,
    turn: AtomicUsize,
}

impl RoundRobin {
    pub async fn before(urls: &[String]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let nodes = Nodes { client, urls: urls.to_vec(), turn: AtomicUsize::new(0) };
        let app = Router::new().fallback(hand_on).with_state(Arc::new(nodes));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A node that is not there is passed over; one that hangs up has maybe done it, which the client has
/// to find out.
async fn hand_on(
    State(nodes): State<Arc<Nodes>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, [(axum::http::HeaderName, String); 1], Bytes) {
    // The store asks for a type with every body, and takes this one for both kinds.
    let json = "application/json".to_owned();
    let kind =
        if uri.path().ends_with("/_bulk") { "application/x-ndjson".to_owned() } else { json };
    for _ in 0..nodes.urls.len() {
        let turn = nodes.turn.fetch_add(1, Ordering::Relaxed) % nodes.urls.len();
        let url = format!("{}{uri}", nodes.urls[turn]);
        let request = nodes.client.request(method.clone(), url);
        let request = request.header(CONTENT_TYPE, &kind).body(body.clone());
        match request.send().await {
            Err(fault) if fault.is_connect() => {}
            Err(_) => break,
            Ok(answer) => {
                let status = answer.status();
                let kind = answer.headers().get(CONTENT_TYPE);
                let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
                let Ok(body) = answer.bytes().await else { break };
                return (status, [(CONTENT_TYPE, kind)], body);
            }
        }
    }
    (StatusCode::BAD_GATEWAY, [(CONTENT_TYPE, "text/plain".to_owned())], Bytes::new())
}

//! Stores that have no channels or monitors. Neither an Elasticsearch nor an OpenSearch 1.x can be
//! had here, so both are fakes: their answers are those of their documentation.

use alertloop::{
    opensearch::engine::{self, Choice},
    provision::{self, ChannelSecret, Options, plan::Action},
};
use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri},
};
use serde_json::{Value, json};

use crate::support::{Process, Store, settings};

/// A store that knows `/`, index templates and no plugin.
async fn fake(version: Value) -> Store {
    let answer = move |method: Method, uri: Uri| {
        let version = version.clone();
        async move {
            match (method, uri.path()) {
                (Method::GET, "/") => (StatusCode::OK, Json(json!({ "version": version }))),
                (Method::GET, "/_template") => (StatusCode::OK, Json(json!({}))),
                (Method::GET, "/_index_template") => {
                    (StatusCode::OK, Json(json!({ "index_templates": [] })))
                }
                (_, path) if path.starts_with("/_index_template/_simulate_index/") => {
                    (StatusCode::OK, Json(json!({})))
                }
                (Method::PUT, path) if path.starts_with("/_template/") => {
                    (StatusCode::OK, Json(json!({ "acknowledged": true })))
                }
                (method, path) => {
                    let error = format!("no handler found for uri [{path}] and method [{method}]");
                    (StatusCode::BAD_REQUEST, Json(json!({ "error": error })))
                }
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Store::at(url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_channels_is_told_and_is_no_failure() {
    for (version, want) in [
        (json!({"number": "8.15.0"}), "the store is not OpenSearch"),
        (
            json!({"number": "1.3.20", "distribution": "opensearch"}),
            "OpenSearch 1.x has no channels",
        ),
        (json!({"number": "3.4.0", "distribution": "opensearch"}), "no Notifications plugin"),
    ] {
        let store = fake(version).await;
        let provisioning = store.provisioning();
        let token = "0123456789abcdef".parse().unwrap();
        let secret = ChannelSecret::new(token, false);
        let options = Options { prune: true, force: true, ..Options::default() };
        // Where nobody else may run the monitors.
        let plugin = engine::Settings { choice: Choice::Plugin, ..engine::Settings::default() };
        let client = store.client_with(plugin);
        let applied = provision::apply(&client, &provisioning, &secret, options).await;
        let applied = applied.unwrap();
        let unavailable = applied.after.steps.iter().filter(|step| match &step.action {
            Action::Unavailable { reason } => reason.contains(want),
            _ => false,
        });
        assert_eq!(unavailable.count(), 2, "{applied}");
        assert!(applied.done.is_empty() && applied.after.is_in_sync(), "{applied}");

        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(&store, dir.path());
        for (name, value) in [("ALERTLOOP_TEMPLATE", "none"), ("ALERTLOOP_MONITORS", "plugin")] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        for command in [&["provision", "plan", "--detailed-exitcode"][..], &["provision", "apply"]]
        {
            let output = Process::command(&settings, command).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), Some(0), "{text}");
            assert!(text.contains(want), "{text}");
        }
    }
}

//! A callback through a channel of OpenSearch Notifications, against the real plugin.

use alertloop::{
    callback::{
        Notice, Outcome, Ran,
        notification::{Notification, Settings},
        sample::sample,
    },
    opensearch::{
        Client,
        notifications::{self, Config, Webhook},
    },
};
use axum::{Router, http::StatusCode, routing::post};
use serde_json::{Map, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::{store, support::Store};

/// What posts to the path `/ok`, which takes it, and `/no`, which does not.
async fn receiver() -> (String, UnboundedReceiver<String>) {
    let (sender, bodies) = mpsc::unbounded_channel();
    let take = |status: StatusCode| {
        let sender = sender.clone();
        post(move |body: String| async move {
            drop(sender.send(body));
            // Of a failure 2.x tells the body, and 3.x the words of the status.
            (status, status.canonical_reason().unwrap_or_default())
        })
    };
    let routes = Router::new()
        .route("/ok", take(StatusCode::OK))
        .route("/no", take(StatusCode::SERVICE_UNAVAILABLE));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}"), bodies)
}

fn channel(name: &str, url: &str, is_enabled: bool) -> Config {
    let webhook =
        Webhook { url: url.to_owned(), header_params: [].into(), method: "POST".to_owned() };
    Config {
        name: name.to_owned(),
        description: String::new(),
        config_type: "webhook".to_owned(),
        is_enabled,
        webhook: Some(webhook),
        other: Map::new(),
    }
}

fn callback(channel: &str, text: &str) -> Notification {
    let settings = json!({"channel": channel, "text": text});
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    settings.build().expect("a callback")
}

async fn send(store: &Store, channel: &str, text: &str, notice: &Notice) -> Ran {
    let client: Client = store.client();
    callback(channel, text).run(&client, notice).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_through_a_channel_as_it_is_and_leaves_no_alert() {
    let store = store!(alerting);
    let name = store.pattern().replace("-*", "");
    let client = store.client();
    let (url, mut bodies) = receiver().await;
    notifications::create(&client, &name, &channel(&name, &format!("{url}/ok"), true))
        .await
        .expect("a channel");
    let mut notice = sample();
    let said = "\"quoted\" <b> &amp; {{ctx.x}} {{{y}}} \\ ü\nnext line";
    notice.alert.message = Some(said.to_owned());
    let ran = send(&store, &name, "Said: {{ alert.message }}", &notice).await;
    assert_eq!(
        ran,
        Ran { outcome: Outcome::Delivered, status: Some(200), answer: "200 OK".to_owned() }
    );
    assert_eq!(bodies.recv().await, Some(format!("Said: {said}")));

    let alerts = client
        .call(opensearch::http::Method::Get, "/_plugins/_alerting/monitors/alerts?size=1000", None)
        .await
        .expect("alerts");
    assert!(!alerts.to_string().contains("next line"), "no alert is kept");

    // 60 messages, past the limit of 75 compilations in 5 minutes together with the others.
    for number in 0..60 {
        let ran = send(&store, &name, &format!("number {number}"), &notice).await;
        assert_eq!(ran.outcome, Outcome::Delivered, "{number}: {}", ran.answer);
        assert_eq!(bodies.recv().await, Some(format!("number {number}")));
    }
    notifications::delete(&client, &name).await.expect("it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_cannot_take_is_tried_again_with_what_to_do() {
    let store = store!(alerting);
    let name = store.pattern().replace("-*", "");
    let client = store.client();
    let (url, _bodies) = receiver().await;
    let failing = channel(&name, &format!("{url}/no"), true);
    notifications::create(&client, &name, &failing).await.expect("a channel");
    let ran = send(&store, &name, "text", &sample()).await;
    let Outcome::Again(why) = &ran.outcome else { panic!("{ran:?}") };
    assert!(
        why.starts_with("the channel failed: 500 ") && why.contains("Service Unavailable"),
        "{why}"
    );
    let off = channel(&name, &format!("{url}/ok"), false);
    notifications::update(&client, &name, &off).await.expect("a channel");
    let ran = send(&store, &name, "text", &sample()).await;
    let why = format!("the channel {name} is switched off; switch it on in Dashboards");
    assert_eq!(ran.outcome, Outcome::Again(why));
    notifications::delete(&client, &name).await.expect("it is gone");
    let missing = send(&store, &name, "text", &sample()).await;
    let why = format!("there is no channel {name}; make it, or correct `channel`");
    assert_eq!(missing.outcome, Outcome::Again(why));
}

//! What the store says that it can do, and what its version says in place of it.

use std::time::Duration;

use alertloop::opensearch::{acknowledging, alerting::Family, capabilities::PLUGINS};
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{Answer, App, Store, skip},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_store_tells_what_it_can_do_and_readiness_shows_it() {
    let store = store!();
    let can = store.client().capabilities().await.expect("an answer");
    let said = store.json(Method::Get, "/", json!({})).await.expect("an answer");
    assert_eq!(can.about.is_opensearch, said["version"]["distribution"] == "opensearch");
    assert!(!can.nodes.is_empty() && can.untold.is_none(), "{can:?}");
    assert!(!can.is_mixed(), "{can}");
    assert_eq!(said["version"]["number"], can.about.version.as_str());
    let plugins = can.plugins().expect("they are told");
    let has_all = PLUGINS.iter().all(|name| plugins.iter().any(|one| one == name));
    assert_eq!(has_all, Store::has_alerting(), "{plugins:?}");
    assert_eq!(has_all, can.lacking().is_empty(), "{:?}", can.lacking());

    let app = App::start(&store, &[]).await;
    let told = async {
        loop {
            let product = Answer::of(app.get("/readyz")).await.json["store"]["product"].take();
            if product != Value::Null {
                return product;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_mins(1), told).await.expect("told in time");
    assert_eq!(told, can.to_string());
    app.stop().await;
}

/// The one thing that goes by version alone. Where it jams, this question would jam this node.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_said_not_to_jam_does_not() {
    let store = store!(alerting);
    let client = store.client().within(Duration::from_secs(10));
    let can = client.capabilities().await.expect("an answer");
    if can.acknowledging_jams() {
        return skip("this version's acknowledging would be stuck by the question");
    }
    for _ in 0..2 {
        let answer = acknowledging::acknowledge(&client, Family::Monitor, "nobody", &["a"]).await;
        let fault = answer.expect_err("there is no such monitor");
        assert_eq!(fault.status(), Some(500), "{fault}");
    }
}

//! A lease on the real store: one holds it, the next one takes over, and what was kept is handed on.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use alertloop::lease::{Error, Lease, ReplicaId, Standing, Timing, Turn, document::Document};
use opensearch::http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    store,
    support::{App, Proxy, Store, provisioning},
};

const SHORT: Timing =
    Timing { duration: Duration::from_millis(7_500), renew_every: Duration::from_millis(2_500) };
/// Where nothing has to run out: no stall of the machine or the store is taken for a failure, with
/// which a turn would go on without the others.
const LONG: Timing =
    Timing { duration: Duration::from_mins(2), renew_every: Duration::from_secs(40) };
/// What the store and the machine may take besides.
const SLACK: Duration = Duration::from_secs(10);

/// An index of leases that no other test uses.
struct Ground {
    store: Store,
    document: Document,
}

impl Ground {
    fn new(store: Store) -> Self {
        let index = store.index("leases");
        let document = Document::new("test", store.pattern()).kept_in(&index);
        Self { store, document }
    }

    fn lease(&self) -> Lease {
        self.lease_of(&ReplicaId::random())
    }

    fn lease_of(&self, replica: &ReplicaId) -> Lease {
        self.lease_with(replica, SHORT)
    }

    fn lease_with(&self, replica: &ReplicaId, timing: Timing) -> Lease {
        Lease::new(self.store.client(), self.document.clone(), replica, timing)
    }

    async fn index_settings(&self) -> Value {
        let path = format!("/{}/_settings?flat_settings=true", self.document.index());
        let mut answer = self.store.json(Method::Get, &path, Value::Null).await.expect("settings");
        answer[self.document.index()]["settings"].take()
    }

    async fn delete(&self, path: &str) {
        self.store.json(Method::Delete, path, Value::Null).await.expect("a deletion");
    }

    /// The index is hidden, so that it has to be named.
    async fn clean(self) {
        self.delete(&format!("/{}", self.document.index())).await;
    }
}

fn held(standing: &Standing) -> Option<(&Value, bool)> {
    match standing {
        Standing::Held { payload, is_new } => Some((payload, *is_new)),
        Standing::Elsewhere { .. } => None,
    }
}

async fn holds(lease: &mut Lease) -> bool {
    held(&lease.hold().await.expect("an answer")).is_some()
}

/// Holds, as often as it should, until it is held; gives how long that took and what was left.
async fn until_held(lease: &mut Lease, at_most: Duration) -> (Duration, Value) {
    let begun = Instant::now();
    loop {
        if let Some((payload, is_new)) = held(&lease.hold().await.expect("an answer")) {
            assert!(is_new);
            return (begun.elapsed(), payload.clone());
        }
        assert!(begun.elapsed() < at_most, "it is not held after {:?}", begun.elapsed());
        tokio::time::sleep(SHORT.renew_every).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_race_for_it_exactly_one_has_it() {
    let ground = Ground::new(store!());
    for round in 0..20 {
        let (mut one, mut two) = (ground.lease(), ground.lease());
        let (first, second) = tokio::join!(holds(&mut one), holds(&mut two));
        assert!(first != second, "round {round}: {first} {second}");
        let now = Instant::now();
        assert_eq!((one.is_held(now), two.is_held(now)), (first, second));
        let (holder, other) = if first { (&mut one, &mut two) } else { (&mut two, &mut one) };
        assert!(holds(holder).await && !holds(other).await);
        assert_eq!(held(&holder.hold().await.expect("an answer")), Some((&Value::Null, false)));
        // Given back for the next round, where both find it free.
        holder.release().await.expect("a release");
        assert!(!holder.is_held(Instant::now()));
    }
    let settings = ground.index_settings().await;
    for (name, value) in [
        ("index.hidden", "true"),
        ("index.number_of_shards", "1"),
        ("index.auto_expand_replicas", "0-1"),
        ("index.gc_deletes", "10m"),
    ] {
        assert_eq!(settings[name], value, "{settings}");
    }
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_vanished_is_followed_after_the_duration_and_what_it_kept_is_handed_on() {
    let ground = Ground::new(store!());
    let (mut first, mut next) = (ground.lease(), ground.lease());
    assert!(holds(&mut first).await);
    first.store(json!({"seen": 1})).await.expect("kept at once");
    first.keep(json!({"seen": 2}));
    assert!(holds(&mut first).await, "the renewal writes what was kept");
    first.keep(json!({"seen": "never written"}));
    let renewed = Instant::now();
    drop(first);
    let (took, payload) = until_held(&mut next, SHORT.duration + SHORT.renew_every + SLACK).await;
    assert!(took >= SHORT.duration, "it was taken after {took:?}");
    assert!(renewed.elapsed() >= SHORT.duration);
    assert_eq!(payload, json!({"seen": 2}));
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_hands_it_over_at_once() {
    let ground = Ground::new(store!());
    let (mut one, mut two) = (ground.lease(), ground.lease());
    assert!(holds(&mut one).await && !holds(&mut two).await);
    one.keep(json!("left"));
    one.release().await.expect("a release");
    let told = two.hold().await.expect("an answer");
    assert_eq!(held(&told), Some((&json!("left"), true)));
    assert!(!holds(&mut one).await);
    two.release().await.expect("a release");
    two.release().await.expect("nothing to do");
    assert!(holds(&mut one).await, "it may come back");
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_killed_takes_its_own_back_at_once() {
    let ground = Ground::new(store!());
    let dir = tempfile::tempdir().expect("a directory");
    let id = ReplicaId::load_or_make(dir.path()).expect("an id");
    let mut killed = ground.lease_of(&id);
    assert!(holds(&mut killed).await);
    killed.store(json!(7)).await.expect("kept");
    drop(killed);
    let id = ReplicaId::load_or_make(dir.path()).expect("the id");
    let told = ground.lease_of(&id).hold().await.expect("an answer");
    assert_eq!(held(&told), Some((&json!(7), true)));
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_copies_of_a_replica_one_steps_down_and_they_do_not_fight() {
    let ground = Ground::new(store!());
    let id = ReplicaId::random();
    let (mut one, mut copy) = (ground.lease_of(&id), ground.lease_of(&id));
    assert!(holds(&mut one).await);
    assert!(holds(&mut copy).await, "it takes what its replica held");
    for _ in 0..10 {
        assert!(!holds(&mut one).await);
        assert!(holds(&mut copy).await);
    }
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_document_was_overwritten_steps_down() {
    let ground = Ground::new(store!());
    let mut lease = ground.lease();
    assert!(holds(&mut lease).await);
    let path = ground.document.path();
    ground.store.json(Method::Put, &path, json!({"any": "thing"})).await.expect("overwritten");
    assert!(lease.is_held(Instant::now()), "it cannot know yet");
    let fault = lease.store(json!(1)).await.expect_err("lost");
    assert!(matches!(fault, Error::Lost(_)), "{fault}");
    assert!(!lease.is_held(Instant::now()));
    // What nobody understands is nobody's, once it has been unchanged for the duration.
    let (took, payload) = until_held(&mut lease, SHORT.duration + SHORT.renew_every + SLACK).await;
    assert!(took + SHORT.renew_every >= SHORT.duration, "{took:?}");
    assert_eq!(payload, Value::Null);
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_deletion_nobody_has_it_before_the_old_holder_stops_believing() {
    let ground = Ground::new(store!());
    let path = ground.document.path();
    for what in [path.clone(), format!("/{}", ground.document.index())] {
        let (mut old, mut other) = (ground.lease(), ground.lease());
        until_held(&mut old, SHORT.duration + SHORT.renew_every + SLACK).await;
        assert!(!holds(&mut other).await);
        let last = Instant::now();
        assert!(holds(&mut old).await);
        ground.delete(&what).await;
        // The store knows that there was a document, and who has seen one knows it without the store.
        let mut lease = if what == path { ground.lease() } else { other };
        assert!(!holds(&mut lease).await, "{what}: the old one may still believe");
        until_held(&mut lease, SHORT.duration + SHORT.renew_every + SLACK).await;
        assert!(last.elapsed() > SHORT.duration, "{what}");
        assert!(!old.is_held(Instant::now()), "{what}");
        lease.release().await.expect("a release");
        assert!(holds(&mut old).await);
        old.release().await.expect("a release");
        let settings = ground.index_settings().await;
        assert_eq!(settings["index.hidden"], "true", "{what}: {settings}");
    }
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_without_a_store_holds_on_until_it_runs_out_and_takes_it_again() {
    let ground = Ground::new(store!());
    let proxy = Proxy::start(&ground.store).await;
    let behind = Store::at(proxy.url());
    let id = ReplicaId::random();
    let mut lease = Lease::new(behind.client(), ground.document.clone(), &id, SHORT);
    assert!(holds(&mut lease).await);
    let renewed = Instant::now();
    assert!(holds(&mut lease).await);
    lease.store(json!("kept")).await.expect("kept");
    proxy.cut();
    let fault = lease.hold().await.expect_err("no answer");
    assert!(fault.to_string().contains(ground.document.index()), "{fault}");
    if renewed.elapsed() < SHORT.duration / 2 {
        assert!(lease.is_held(Instant::now()), "one failure is not a loss");
    }
    while lease.is_held(Instant::now()) {
        assert!(renewed.elapsed() < SHORT.duration + SLACK);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.mend();
    let told = lease.hold().await.expect("an answer");
    assert_eq!(held(&told), Some((&json!("kept"), false)), "nobody has had it meanwhile");
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_taken_one_after_the_other() {
    let ground = Ground::new(store!());
    let (stop, at_work) = (CancellationToken::new(), AtomicUsize::new(0));
    let one = async || {
        let lease = ground.lease_with(&ReplicaId::random(), LONG);
        let mut turn = Turn::with(lease, LONG.duration);
        for _ in 0..3 {
            turn.take(&stop).await;
            assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "another one is at work");
            // Work, over which the others look several times.
            tokio::time::sleep(Duration::from_millis(400)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            turn.end().await;
        }
    };
    tokio::join!(one(), one(), one());
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cannot_be_had_is_gone_without() {
    let ground = Ground::new(store!());
    let (stop, patience) = (CancellationToken::new(), Duration::from_millis(700));
    let mut busy = ground.lease();
    assert!(holds(&mut busy).await);
    // Somebody is at work for too long.
    let begun = Instant::now();
    Turn::with(ground.lease(), patience).take(&stop).await;
    assert!(begun.elapsed() >= patience && begun.elapsed() < patience + SLACK);
    // Nobody answers.
    let away =
        Lease::new(Store::away().client(), ground.document.clone(), &ReplicaId::random(), SHORT);
    let begun = Instant::now();
    let mut turn = Turn::with(away, Duration::from_mins(1));
    turn.take(&stop).await;
    turn.end().await;
    assert!(begun.elapsed() < SLACK);
    // It is to stop.
    stop.cancel();
    let begun = Instant::now();
    Turn::with(ground.lease(), Duration::from_mins(1)).take(&stop).await;
    assert!(begun.elapsed() < SLACK);
    ground.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_provision_one_after_the_other() {
    let store = store!(alerting);
    let _alone = provisioning(&store).await;
    let settings = [
        ("ALERTLOOP_PROVISION", "true"),
        ("ALERTLOOP_WEBHOOK_URL", "http://alertloop:5000/mapi/alert"),
    ];
    let start = async || {
        let app = App::start(&store, &settings).await;
        app.wait_until_provisioned().await;
        app
    };
    let (one, two, three) = tokio::join!(start(), start(), start());
    let path = Document::new("provisioner", store.pattern()).path();
    // The last one gives its turn back after it has said that it is ready.
    let released = async {
        loop {
            let lease = store.json(Method::Get, &path, Value::Null).await.expect("a lease");
            if lease["_source"]["tenure"] == "released" && lease["_version"] == 7 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let released = tokio::time::timeout(SLACK, released).await;
    let lease = store.json(Method::Get, &path, Value::Null).await.expect("a lease");
    assert!(released.is_ok(), "it was made, and taken and given back three times: {lease}");
    for app in [one, two, three] {
        app.stop().await;
    }
    store.json(Method::Delete, &path, Value::Null).await.expect("no lease");
    store.remove_loopback().await;
}

//! Lists in a real Redis: what is pushed there becomes records, once, in its order, whatever the
//! server is like and whatever happens to it.

use std::{collections::HashMap, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    redis, store,
    support::{Answer, App, Process, Redis, Store, certificates, settings, skip},
};

const QUEUE: &str = "ntopng.alert_process_queue";
const SECRET: &str = "hunter2hunter2";
/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// An alert as external programs push it, on 2018-04-13.
fn alert(message: &str) -> String {
    json!({
        "ifid": 0, "entity_type": 5, "entity_value": "4a:00:06:a0:7c:51", "type": 17, "severity": 1,
        "message": message, "tstamp": 1_523_616_620, "action": "store"
    })
    .to_string()
}

fn alerts(from: u32, count: u32) -> Vec<String> {
    (from..from + count).map(|number| alert(&format!("number {number:05}"))).collect()
}

/// What the records say, in the order in which they were written.
async fn messages(store: &Store, count: usize) -> Vec<String> {
    let mut records = store.wait_for_records(count).await;
    records
        .sort_by_key(|record| record["_source"]["event"]["ingested"].as_str().map(str::to_owned));
    let text = |record: &Value| record["_source"]["message"].as_str().unwrap_or("").to_owned();
    records.iter().map(text).collect()
}

/// What readiness says of the first queue.
async fn state(app: &App) -> Value {
    let ready = Answer::of(app.get("/readyz")).await;
    assert_eq!(ready.status, 200, "Redis must not make us unready: {:?}", ready.json);
    ready.json["queues"][0].clone()
}

async fn wait_until(app: &App, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let state = state(app).await;
        if is_so(&state) {
            return state;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connected(app: &App) {
    wait_until(app, "connected", |state| state["connected"] == true).await;
}

async fn trouble(app: &App, text: &str) {
    let has = |state: &Value| state["trouble"].as_str().is_some_and(|why| why.contains(text));
    let state = wait_until(app, text, has).await;
    assert!(!state.to_string().contains(SECRET), "{state}");
    assert_eq!(state["connected"], false);
}

/// Nothing of ours is left but in the queue.
fn nothing_is_left(redis: &Redis) {
    let mut keys = redis.keys("*");
    keys.retain(|key| !key.contains(":alive:"));
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_becomes_records_and_what_is_none_a_dead_letter() {
    let (store, redis) = (store!(), redis!());
    redis.push(QUEUE, &alerts(0, 40));
    let app = App::start(&store, &[("ALERTLOOP_NTOPNG_REDIS_URL", &redis.url())]).await;
    assert_eq!(messages(&store, 40).await.len(), 40);
    redis.push(QUEUE, &["no JSON".to_owned(), String::new(), alert("the last"), alert("the last")]);
    assert_eq!(store.wait_for_records(41).await.len(), 41);
    app.drained().await;
    let letters = app.dead_letters().await;
    assert_eq!((letters.len(), &letters[0]["source"]), (1, &json!("ntopng")), "{letters:?}");
    wait_until(&app, "an empty queue", |state| state["length"] == 0 && state["taken"] == 44).await;
    app.stop().await;
    nothing_is_left(&redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_is_kept_also_by_a_server_that_cannot_move() {
    let modern: &[&str] = &[];
    let old: &[&str] = &["--rename-command", "LMOVE", "", "--rename-command", "BLMOVE", ""];
    for arguments in [modern, old] {
        let store = store!();
        let Some(redis) = Redis::start(arguments) else { return skip("there is no redis-server") };
        let (dir, count) = (tempfile::tempdir().expect("a directory"), 2_500);
        // Nothing leaves the spool, so that its order can be seen.
        let mut settings = settings(&store, dir.path());
        settings.insert("OPENSEARCH_URL".to_owned(), "http://127.0.0.1:1".to_owned());
        settings.insert("ALERTLOOP_NTOPNG_REDIS_URL".to_owned(), redis.url());
        redis.push(QUEUE, &alerts(0, count / 2));
        let process = tokio::task::block_in_place(|| Process::serve(&settings));
        redis.push(QUEUE, &alerts(count / 2, count - count / 2));
        until_taken(&redis).await;
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
        let spool = alertloop::spool::Spool::open(dir.path(), 1 << 30).expect("a spool");
        let entries = spool.next_batch(0, 9_999, 1 << 30).expect("entries");
        let bodies: Vec<_> = entries
            .into_iter()
            .map(|entry| String::from_utf8(entry.envelope.body).expect("text"))
            .collect();
        assert!(bodies == alerts(0, count), "{} of {count} in order", bodies.len());
        nothing_is_left(&redis);
    }
}

/// Waits until nothing is in the queue, nor in a work list.
async fn until_taken(redis: &Redis) {
    let taken = async {
        while redis.ask::<u64>(&["EXISTS", QUEUE]) + redis.keys("*:work:*").len() as u64 > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("an empty queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_after_a_restart_are_news() {
    let (store, redis) = (store!(), redis!());
    let dir = tempfile::tempdir().expect("a directory");
    // Nothing leaves the spool.
    let mut settings = settings(&store, dir.path());
    settings.insert("OPENSEARCH_URL".to_owned(), "http://127.0.0.1:1".to_owned());
    settings.insert("ALERTLOOP_NTOPNG_REDIS_URL".to_owned(), redis.url());
    // A program that tells no time says the same each time.
    let says = |action: &str| {
        json!({ "ifid": 0, "entity_type": 5, "entity_value": "ups", "type": 17, "severity": 1,
            "message": "on battery", "action": action })
        .to_string()
    };
    for told in [vec![says("engage"), says("release")], vec![says("engage")]] {
        let process = tokio::task::block_in_place(|| Process::serve(&settings));
        redis.push(QUEUE, &told);
        until_taken(&redis).await;
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
    }
    let spool = alertloop::spool::Spool::open(dir.path(), 1 << 30).expect("a spool");
    let entries = spool.next_batch(0, 9, 1 << 20).expect("entries");
    let bodies: Vec<_> = entries.into_iter().map(|entry| entry.envelope.body).collect();
    let want = ["engage", "release", "engage"].map(|action| says(action).into_bytes());
    assert_eq!(bodies, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_is_emptied_all_the_same() {
    let (store, redis) = (store!(), redis!());
    let app = App::start(&store, &[("ALERTLOOP_NTOPNG_REDIS_URL", &redis.url())]).await;
    connected(&app).await;
    redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    // In one transaction, so that nothing is taken between.
    let mut all = ::redis::pipe();
    all.atomic().cmd("RPUSH").arg(QUEUE).arg(alerts(0, 30));
    all.cmd("CONFIG").arg("SET").arg("maxmemory").arg("1");
    all.exec(&mut redis.connection()).expect("pushed");
    assert_eq!(messages(&store, 30).await.len(), 30);
    redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    app.stop().await;
    nothing_is_left(&redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_once_and_passes_when_its_cause_does() {
    let (store, mut redis) = (store!(), redis!());
    let app = App::start(&store, &[("ALERTLOOP_NTOPNG_REDIS_URL", &redis.url())]).await;
    connected(&app).await;

    redis.ask::<String>(&["SET", QUEUE, "no list"]);
    trouble(&app, "WRONGTYPE").await;
    redis.ask::<u64>(&["DEL", QUEUE]);
    connected(&app).await;

    redis.ask::<String>(&["REPLICAOF", "127.0.0.1", "1"]);
    trouble(&app, "READONLY").await;
    redis.ask::<String>(&["REPLICAOF", "NO", "ONE"]);
    connected(&app).await;

    redis.push(QUEUE, &alerts(0, 3));
    store.wait_for_records(3).await;
    redis.kill();
    trouble(&app, "no connection to Redis").await;
    redis.start_again();
    redis.push(QUEUE, &alerts(3, 3));
    assert_eq!(store.wait_for_records(6).await.len(), 6);
    connected(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_least_rights_takes_from_its_database() {
    // These are the rules of docs/ntopng-queue.md.
    let rules = format!(
        "alertloop on >{SECRET} ~{QUEUE} ~alertloop:* ~copy +blmove +lmove +llen +lrange +lrem +sadd \
         +set +smembers +exists +srem +select +rpush +ltrim"
    );
    let store = store!();
    let words: Vec<_> = rules.split(' ').collect();
    let Some(redis) = Redis::start(&[&["--user"], &words[..]].concat()) else {
        return skip("there is no redis-server");
    };
    let url = |password: &str| format!("redis://alertloop:{password}@127.0.0.1:{}/3", redis.port());
    let tee = format!("{QUEUE}=copy");
    let app = App::start(
        &store,
        &[("ALERTLOOP_NTOPNG_REDIS_URL", &url(SECRET)), ("ALERTLOOP_NTOPNG_TEE", &tee)],
    )
    .await;
    let mut connection = redis.connection();
    ::redis::cmd("SELECT").arg(3).exec(&mut connection).expect("a database");
    ::redis::cmd("RPUSH").arg(QUEUE).arg(alerts(0, 20)).exec(&mut connection).expect("pushed");
    assert_eq!(store.wait_for_records(20).await.len(), 20);
    app.drained().await;
    let copy = ::redis::cmd("LRANGE").arg("copy").arg(0).arg(-1).query(&mut connection);
    assert_eq!(copy, Ok(alerts(0, 20)));
    app.stop().await;
    let denied: Vec<::redis::Value> = redis.ask(&["ACL", "LOG"]);
    assert!(denied.is_empty(), "{denied:?}");

    let wrong = App::start(&store, &[("ALERTLOOP_NTOPNG_REDIS_URL", &url("wrong"))]).await;
    trouble(&wrong, "refuses the login").await;
    wrong.stop().await;
    redis.ask::<String>(&["ACL", "SETUSER", "alertloop", "-lrem", "-sadd"]);
    let poor = App::start(&store, &[("ALERTLOOP_NTOPNG_REDIS_URL", &url(SECRET))]).await;
    trouble(&poor, "NOPERM").await;
    poor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_pushed_on_to_a_list_that_is_bounded() {
    let (store, redis) = (store!(), redis!());
    redis.push(QUEUE, &alerts(0, 1_100));
    let tee = format!("{QUEUE}=for.ntopng");
    let others = [("ALERTLOOP_NTOPNG_REDIS_URL", redis.url()), ("ALERTLOOP_NTOPNG_TEE", tee)];
    let others = others.each_ref().map(|(name, value)| (*name, value.as_str()));
    let app = App::start(&store, &others).await;
    store.wait_for_records(1_100).await;
    wait_until(&app, "taken", |state| state["taken"] == 1_100).await;
    app.stop().await;
    assert!(redis.list("for.ntopng") == alerts(1_100 - 1_024, 1_024), "the newest, in their order");
    assert_eq!(redis.ask::<u64>(&["DEL", "for.ntopng"]), 1);
    nothing_is_left(&redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_whom_it_trusts() {
    let store = store!();
    let folder = tempfile::tempdir().expect("a folder");
    let made = certificates(folder.path(), ["server", "client"]);
    let [server, client] = match made {
        Ok(made) => made,
        Err(why) => return skip(&why),
    };
    let path = |path: &Path| path.display().to_string();
    let [ca, key, own, own_key] = [&server.0, &server.1, &client.0, &client.1].map(|one| path(one));
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("a free port").port().to_string();
    let redis = redis!(
        "--tls-port",
        &port,
        "--tls-cert-file",
        &ca,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &own
    );
    let url = format!("rediss://127.0.0.1:{port}/0");
    let insecure = format!("{url}#insecure");
    let trusted = [("ALERTLOOP_NTOPNG_REDIS_CA", ca.as_str())];
    let shown = [
        ("ALERTLOOP_NTOPNG_REDIS_CERT", own.as_str()),
        ("ALERTLOOP_NTOPNG_REDIS_KEY", own_key.as_str()),
    ];
    for (number, (url, others, works)) in [
        (&url, [&trusted[..], &shown].concat(), true),
        (&insecure, shown.to_vec(), true),
        (&url, shown.to_vec(), false),
        (&url, trusted.to_vec(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let others = [&[("ALERTLOOP_NTOPNG_REDIS_URL", url.as_str())], &others[..]].concat();
        let app = App::start(&store, &others).await;
        if works {
            redis.push(QUEUE, &[alert(&format!("by TLS {number}"))]);
            store.wait_for_records(number + 1).await;
        } else {
            trouble(&app, "no connection to Redis").await;
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_a_queue() {
    let (store, redis) = (store!(), redis!());
    let url = redis.url();
    let url = [("ALERTLOOP_NTOPNG_REDIS_URL", url.as_str())];
    let (one, other) = (App::start(&store, &url).await, App::start(&store, &url).await);
    connected(&one).await;
    connected(&other).await;
    let count = 3_000;
    for first in (0..count).step_by(50) {
        redis.push(QUEUE, &alerts(first, 50));
    }
    store.wait_for_records(count as usize).await;
    let (first, second) =
        (state(&one).await["taken"].clone(), state(&other).await["taken"].clone());
    assert!(first != 0 && second != 0, "both take: {first}, {second}");
    assert_eq!(first.as_u64().zip(second.as_u64()).map(|(a, b)| a + b), Some(count.into()));
    for app in [&one, &other] {
        app.drained().await;
    }
    one.stop().await;
    other.stop().await;
    nothing_is_left(&redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_list_of_a_replica_that_is_gone_is_taken_over() {
    let old: &[&str] = &["--rename-command", "LMOVE", "", "--rename-command", "BLMOVE", ""];
    for arguments in [&[][..], old] {
        let store = store!();
        let Some(redis) = Redis::start(arguments) else { return skip("there is no redis-server") };
        let key = |kind: &str| format!("alertloop:queue:{QUEUE}:{kind}");
        redis.push(&key("work:gone"), &alerts(0, 5));
        redis.push(&key("work:alive"), &alerts(5, 5));
        redis.ask::<u64>(&["SADD", &key("takers"), "gone", "alive"]);
        redis.ask::<String>(&["SET", &key("alive:alive"), "1"]);
        let app = App::start(&store, &[("ALERTLOOP_NTOPNG_REDIS_URL", &redis.url())]).await;
        let mut records = messages(&store, 5).await;
        records.sort();
        assert_eq!(records, (0..5).map(|number| format!("number {number:05}")).collect::<Vec<_>>());
        app.drained().await;
        app.stop().await;
        assert!(redis.list(&key("work:alive")) == alerts(5, 5), "it is left to its owner");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_keeping_and_removing_doubles_nothing_not_even_a_dead_letter() {
    let (store, redis) = (store!(), redis!());
    store.make_template().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings: HashMap<_, _> = settings(&store, dir.path());
    settings.insert("ALERTLOOP_NTOPNG_REDIS_URL".to_owned(), redis.url());
    let serve = || tokio::task::block_in_place(|| Process::serve(&settings));
    let process = serve();
    let items = vec!["no JSON".to_owned(), alert("an alert")];
    redis.push(QUEUE, &items);
    let settled = async |process: &Process| {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let begun = std::time::Instant::now();
        loop {
            let ready = Answer::of(client.get(process.url("/readyz"))).await.json;
            let works = redis.keys("*:work:*");
            if ready["spool"]["dead_letters"] != 0
                && ready["spool"]["waiting"] == 0
                && ready["queues"][0]["connected"] == true
                && works.is_empty()
            {
                return ready;
            }
            assert!(begun.elapsed() < PATIENCE, "{ready} {works:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    settled(&process).await;
    process.kill();
    // As it stood before the removal.
    let replica = std::fs::read_to_string(dir.path().join("replica-id")).expect("an id");
    redis.push(&format!("alertloop:queue:{QUEUE}:work:{}", replica.trim()), &items);
    let process = serve();
    let ready = settled(&process).await;
    // The alert was kept once more, and is the same record; the spool still knew the other one.
    let seen = (&ready["spool"]["dead_letters"], &ready["queues"][0]["taken"]);
    assert_eq!(seen, (&json!(1), &json!(1)));
    assert_eq!(store.wait_for_records(1).await.len(), 1);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_nowhere_to_be_read() {
    let (store, redis) = (store!(), redis!("--user", "ann", "on", ">another-one", "~*", "+@all"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&store, dir.path());
    let url = format!("redis://ann:{SECRET}@127.0.0.1:{}/0", redis.port());
    settings.insert("ALERTLOOP_NTOPNG_REDIS_URL".to_owned(), url);
    settings.insert("ALERTLOOP_LOG".to_owned(), "debug,redis=trace".to_owned());
    let process = tokio::task::block_in_place(|| Process::serve(&settings));
    let told = async {
        while !process.has_said("nothing is taken from the queue") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it says that it is refused");
    process.signal("TERM");
    let log = Value::from(process.log()).to_string();
    assert_eq!(process.wait().code(), Some(0));
    assert!(log.contains("refuses the login") && !log.contains(SECRET), "{log}");
}

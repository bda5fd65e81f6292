//! Bodies as senders post them: decoded, named, made into records, mended, masked and shown.

use std::{hint::black_box, io::Write as _, sync::LazyLock};

use alertloop::{
    alert::{Alert, Source},
    intake::{self, Encoding, Envelope, Reading, heartbeat, masked as mask, repair, shown},
    record::{self, Naming, Receipt, compat::Compat, fields::FieldSet, index_name::IndexName},
};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

/// What a body may unpack to.
const LIMIT: usize = 1 << 20;
/// What OpenSearch takes as `_id`, in bytes.
const LONGEST_ID: usize = 512;

static NAMING: LazyLock<Naming> = LazyLock::new(|| Naming {
    index: IndexName::new("arkime_sessions3-*", "%{%y%m%d}").unwrap(),
    time_field: "firstPacket".to_owned(),
});
/// Graylog's own address, for links.
static GRAYLOG: LazyLock<Url> = LazyLock::new(|| "https://graylog.example.org/".parse().unwrap());
/// Two stores: one that has few fields, one that takes any.
static FIELDS: LazyLock<[FieldSet; 2]> = LazyLock::new(|| {
    let template = include_str!("../../../provisioning/templates/alertloop_sessions.json");
    let template: Value = serde_json::from_str(template).unwrap();
    [FieldSet::from_mapping(&template["template"]["mappings"]), FieldSet::everything()]
});

pub fn detected(body: &[u8]) {
    read(None, body);
}

pub fn opensearch(body: &[u8]) {
    read(Some(Source::OpenSearch), body);
}

pub fn graylog(body: &[u8]) {
    read(Some(Source::Graylog), body);
}

pub fn ntopng(body: &[u8]) {
    read(Some(Source::Ntopng), body);
}

pub fn alertmanager(body: &[u8]) {
    read(Some(Source::Alertmanager), body);
}

pub fn reconciler(body: &[u8]) {
    read(Some(Source::Reconciler), body);
}

/// The alerts of a body, for other targets.
pub fn alerts(body: &[u8]) -> Vec<Alert> {
    let decoded = intake::decode(&envelope(None, Encoding::Identity, body), LIMIT);
    decoded.into_iter().flatten().flatten().collect()
}

/// What the service does with a body, from its receipt to the record.
fn read(source: Option<Source>, body: &[u8]) {
    // What the answer of a request is made of.
    if intake::is_test_post(body) {
        black_box(intake::channel_under_test(body));
    }
    black_box(heartbeat::read(body));
    let envelope = envelope(source, Encoding::Identity, body);
    let reading = Reading { limit: LIMIT, ntopng: None };
    let named = intake::decode_for_name(&envelope, reading);
    let Ok(alerts) = intake::decode(&envelope, reading) else {
        assert!(named.is_none(), "what cannot be read has a name");
        return;
    };
    assert!(!alerts.is_empty(), "a body is no alert and no fault");
    let single = alerts.len() == 1;
    for (position, alert) in alerts.iter().enumerate() {
        let Ok(alert) = alert else { continue };
        let mut alert = alert.clone();
        alert.locate(Some(&GRAYLOG));
        let hash = record::body_hash(body, position);
        let receipt = Receipt { received: envelope.received, hash: &hash };
        for known in FIELDS.iter() {
            check(&alert, receipt, known);
        }
        if single && let Some(named) = &named {
            let (told, is) = (address(named, receipt), address(&alert, receipt));
            assert_eq!(told, is, "the sender was told another record");
        }
    }
}

fn address(alert: &Alert, receipt: Receipt) -> (String, String) {
    record::address(alert, receipt, &NAMING)
}

/// A record is one line of JSON with an address that the store takes.
fn check(alert: &Alert, receipt: Receipt, known: &FieldSet) {
    let made = record::build(alert, receipt, &NAMING, known);
    assert_eq!(address(alert, receipt), (made.index.clone(), made.id.clone()));
    assert!(!made.document.contains(['\n', '\r']), "a line of `_bulk` is two: {}", made.document);
    let document: Value = serde_json::from_str(&made.document).expect("a record is JSON");
    assert_eq!(document["event"]["dataset"], "alerting");
    assert!(made.id.len() <= LONGEST_ID, "{}", made.id);
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let in_path = |text: &str| text.contains(['/', '\\', '?', '#', '"', '*', '<', '>', '|', ',']);
    assert!(plain(&made.id) && !in_path(&made.id), "{}", made.id);
    assert!(plain(&made.index) && !in_path(&made.index), "{}", made.index);
    let url = document["event"]["url"].as_str().unwrap_or("http:");
    let is_link = ["http:", "https:", "/"].iter().any(|begin| url.starts_with(begin));
    assert!(is_link && !url.contains(char::is_control), "event.url is {url:?}");
}

/// A packed body says the same as the body, and a damaged one is a fault.
pub fn unpacked(packed: &[u8]) {
    for encoding in [Encoding::Gzip, Encoding::Deflate] {
        let envelope = envelope(None, encoding, packed);
        black_box(intake::decode(&envelope, LIMIT)).ok();
        black_box(shown::shown(encoding, packed, LIMIT));
    }
}

/// A body as gzip.
pub fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

/// What is mended needs no more mending, and does not grow without bounds.
pub fn repaired(body: &[u8]) {
    let once = repair::repair(body);
    assert!(once.text.len() <= 6 * body.len() + 3, "it grew too much");
    if serde_json::from_str::<&serde_json::value::RawValue>(&once.text).is_ok() {
        let twice = repair::repair(once.text.as_bytes());
        assert_eq!(twice.text, once.text, "what is mended is mended again");
    }
}

/// What is masked stays masked; a secret under its own name is not shown.
pub fn masked(body: &[u8]) {
    let once = mask::masked(body);
    let twice = mask::masked(&once);
    assert_eq!(twice, once, "masked again, it is another text");
    black_box(shown::shown(Encoding::Identity, body, LIMIT));
    // Whatever stands before, quoted under its own name it is found.
    let secret = b"known-Secret.0815";
    let with = [body, b"\n{\"sharedsecret\": \"", secret, b"\"}"].concat();
    let shown = mask::masked(&with);
    let is_in = |text: &[u8]| text.windows(secret.len()).any(|window| window == secret);
    assert!(is_in(body) || !is_in(&shown), "a secret is shown");
}

/// Upstream's documents.
pub fn compat(body: &[u8]) {
    for level in [Compat::Malcolm2601, Compat::Malcolm2608] {
        for kind in ["application/json", "text/plain"] {
            let mut envelope = envelope(None, Encoding::Identity, body);
            kind.clone_into(&mut envelope.content_type);
            let Ok(record) = record::compat::record(&envelope, level, &NAMING) else { continue };
            assert!(!record.document.contains('\n'));
            serde_json::from_str::<Value>(&record.document).expect("a record is JSON");
        }
    }
}

fn envelope(source: Option<Source>, encoding: Encoding, body: &[u8]) -> Envelope {
    Envelope {
        source,
        received: Timestamp::from_second(1_793_961_600).unwrap(),
        content_type: String::new(),
        encoding,
        body: body.to_vec(),
    }
}

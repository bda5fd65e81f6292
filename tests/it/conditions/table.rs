//! Random conditions over random messages: what the store decides is what the definition says.
//!
//! The definition is Graylog's: the messages of the last minutes, both ends included; more, less,
//! higher and lower leave the threshold itself out; a statistic of no value never fires.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{MINUTE, fires, keep, roomy};
use crate::store;

const TRIALS: usize = 150;
/// What a failure is reproduced with.
const SEED: u64 = 7;

struct Message {
    age: i64,
    bytes: Option<i64>,
    dataset: Option<&'static str>,
}

fn messages(random: &mut StdRng) -> Vec<Message> {
    let count = random.random_range(0..8);
    let one = |_| Message {
        // Mostly at the ends of a window, and beside them.
        age: random.random_range(-1..4) * MINUTE + random.random_range(-1..2),
        bytes: random.random_bool(0.7).then(|| random.random_range(-3..6)),
        dataset: random.random_bool(0.5).then(|| if random.random() { "conn" } else { "dns" }),
    };
    (0..count).map(one).collect()
}

/// A condition as its file has it, and whether it is true of these messages.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn any_condition(random: &mut StdRng, messages: &[Message]) -> (String, bool) {
    let time = random.random_range(1..4);
    let within: Vec<_> =
        messages.iter().filter(|one| (0..=time * MINUTE).contains(&one.age)).collect();
    let above = random.random_bool(0.5);
    let beyond =
        |value: f64, threshold: f64| if above { value > threshold } else { value < threshold };
    match random.random_range(0..3) {
        0 => {
            let threshold: u32 = random.random_range(0..6);
            let side = if above { "more" } else { "less" };
            let lines = format!(
                "type = \"message_count\"\nthreshold = {threshold}\nthreshold_type = \"{side}\"\ntime = {time}"
            );
            (lines, beyond(within.len() as f64, f64::from(threshold)))
        }
        1 => {
            let name = ["mean", "min", "max", "sum", "stddev"][random.random_range(0..5)];
            let values: Vec<_> =
                within.iter().filter_map(|one| one.bytes).map(|one| one as f64).collect();
            let found = statistic(name, &values);
            let near = found.unwrap_or_default();
            // The threshold itself, where that is a number that both sides compute alike.
            let threshold = match random.random_range(0..3) {
                0 if name != "stddev" => near,
                1 => near + 0.25,
                _ => near - 0.25,
            };
            let side = if above { "higher" } else { "lower" };
            let lines = format!(
                "type = \"field_value\"\nfield = \"network.bytes\"\nstatistic = \"{name}\"\nthreshold = {threshold:?}\nthreshold_type = \"{side}\"\ntime = {time}"
            );
            (lines, found.is_some_and(|found| beyond(found, threshold)))
        }
        _ => {
            let value = if random.random() { "conn" } else { "dns" };
            let lines = format!(
                "type = \"field_content_value\"\nfield = \"event.dataset\"\nvalue = \"{value}\"\ntime = {time}"
            );
            (lines, within.iter().any(|one| one.dataset == Some(value)))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn statistic(name: &str, values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let mean = sum / count;
    Some(match name {
        "mean" => mean,
        "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "sum" => sum,
        _ => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
    })
}

fn document(node: &str, message: &Message) -> Value {
    let mut document = json!({"firstPacket": message.age, "node": node});
    if let Some(bytes) = message.bytes {
        document["network"] = json!({ "bytes": bytes });
    }
    if let Some(dataset) = message.dataset {
        document["event"] = json!({ "dataset": dataset });
    }
    document
}

#[tokio::test]
async fn the_store_decides_as_the_definition_does() {
    let store = roomy(store!(alerting)).await;
    store.make_template().await;
    let mut random = StdRng::seed_from_u64(SEED);
    let trials: Vec<_> = (0..TRIALS)
        .map(|trial| {
            let messages = messages(&mut random);
            let (lines, want) = any_condition(&mut random, &messages);
            (format!("trial{trial}"), messages, lines, want)
        })
        .collect();
    let documents = trials.iter().flat_map(|(node, messages, ..)| {
        messages.iter().map(move |message| document(node, message))
    });
    keep(&store, &documents.collect::<Vec<_>>()).await;
    let mut fired = 0;
    for (node, _, lines, want) in &trials {
        let lines = format!("{lines}\nstream.query = \"node:{node}\"");
        assert_eq!(fires(&store, &lines).await, *want, "{lines}");
        fired += usize::from(*want);
    }
    assert!((TRIALS / 5..TRIALS * 4 / 5).contains(&fired), "{fired} of {TRIALS} fire");
}

//! What ntopng posts.

use serde_json::{Map, Value};

use super::Undecodable;
use crate::alert::Alert;

/// Whether an object is one of ntopng's, wherever it was posted to.
pub fn recognises(_object: &Map<String, Value>) -> bool {
    false
}

/// Whether a body is what ntopng posts when somebody tests a recipient.
pub fn is_test(_body: &[u8]) -> bool {
    false
}

/// The alerts of an object.
pub fn decode(_object: Map<String, Value>) -> Vec<Result<Alert, Undecodable>> {
    vec![Err(Undecodable("ntopng's alerts are not read yet".to_owned()))]
}

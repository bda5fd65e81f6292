//! Graylog's priority → our severity. Graylog has 0 (info) to 4 (critical); versions before 6 have 1
//! to 3 alone. The scale is our choice, so that critical stands beside OpenSearch's highest.

use serde_json::Value;

/// 0 to 4 becomes 20 to 100, clamped; a word counts too. `None` where it cannot be read.
pub fn severity(priority: &Value) -> Option<u8> {
    let number = match priority {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().or_else(|| named(text.trim())),
        _ => None,
    };
    match number? {
        n if n < 0.5 => Some(20),
        n if n < 1.5 => Some(40),
        n if n < 2.5 => Some(60),
        n if n < 3.5 => Some(80),
        n if n.is_finite() => Some(100),
        _ => None,
    }
}

fn named(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "info" | "informational" => Some(0.0),
        "low" => Some(1.0),
        "medium" | "normal" => Some(2.0),
        "high" => Some(3.0),
        "critical" => Some(4.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scale_is_that_of_the_documentation() {
        for (priority, want) in [
            (json!(0), Some(20)),
            (json!(1), Some(40)),
            (json!("2"), Some(60)),
            (json!(3.0), Some(80)),
            (json!(4), Some(100)),
            (json!(9), Some(100)),
            (json!(-1), Some(20)),
            (json!("High"), Some(80)),
            (json!("Critical"), Some(100)),
            (json!("inf"), None),
            (json!("soon"), None),
            (json!(null), None),
            (json!([3]), None),
        ] {
            assert_eq!(severity(&priority), want, "{priority}");
        }
    }
}

//! The store's script engines.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Client, Error};

/// Renders a Mustache template with the engine that renders the messages of monitors.
///
/// # Errors
/// [`Error`]: 400 for a template that does not compile, 500 for one that fails on its parameters.
pub async fn render(client: &Client, source: &str, params: &Value) -> Result<String, Error> {
    let body = json!({ "source": source, "params": params });
    let (status, answer) = client.exchange(Method::Post, "/_render/template", Some(&body)).await?;
    if status != 200 {
        return Err(Error::refused(status, &answer));
    }
    let text = String::from_utf8_lossy(&answer);
    output(&text)
        .map(str::to_owned)
        .ok_or_else(|| Error::Malformed("a rendered template without template_output".to_owned()))
}

/// The answer holds the rendered text as it is, as if it were JSON; where it is none, nor is the
/// answer.
fn output(answer: &str) -> Option<&str> {
    answer.trim().strip_prefix(r#"{"template_output":"#)?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_taken_as_it_is() {
        for (answer, want) in [
            (r#"{"template_output":{"a":1}}"#, Some(r#"{"a":1}"#)),
            (r#"{"template_output":{"a":}}"#, Some(r#"{"a":}"#)),
            (r#"{"template_output":hello }"#, Some("hello ")),
            (r#"{"template_output":}"#, Some("")),
            (r#"{"error":"x"}"#, None),
        ] {
            assert_eq!(output(answer), want);
        }
    }
}

//! The store's script engines.

use bytes::Bytes;
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

/// Why an engine brought no result, with all that the store tells of it.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// An answer that is not 2xx, with its body.
    Answered(u16, Bytes),
    /// No answer, or none that can be read.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Asks one of the store's engines.
///
/// # Errors
/// [`Refusal`].
pub async fn ask(client: &Client, path: &str, body: &Value) -> Result<Bytes, Refusal> {
    let (status, answer) = client.exchange(Method::Post, path, Some(body)).await?;
    if (200..300).contains(&status) { Ok(answer) } else { Err(Refusal::Answered(status, answer)) }
}

/// Runs a script of Painless (`{"script": {"source": …, "params": …}}`) and gives its outcome as it is
/// printed.
///
/// # Errors
/// [`Refusal`]: 400 for a script that does not compile, or fails.
pub async fn executed(client: &Client, request: &Value) -> Result<String, Refusal> {
    let answer = ask(client, "/_scripts/painless/_execute", request).await?;
    let answer: Value =
        serde_json::from_slice(&answer).map_err(|fault| Error::Malformed(fault.to_string()))?;
    let result = answer.get("result").and_then(Value::as_str).map(str::to_owned);
    result.ok_or_else(|| Error::Malformed("an executed script without result".to_owned()).into())
}

/// As [`render`], of a request (`{"source": …, "params": …}`).
///
/// # Errors
/// [`Refusal`]: 400 for a template that does not compile, 500 for one that fails on its parameters.
pub async fn rendered(client: &Client, request: &Value) -> Result<String, Refusal> {
    let answer = ask(client, "/_render/template", request).await?;
    let text = String::from_utf8_lossy(&answer);
    let output = output(&text).map(str::to_owned);
    output.ok_or_else(|| {
        Error::Malformed("a rendered template without template_output".to_owned()).into()
    })
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

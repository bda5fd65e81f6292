//! A template of a message. Pure.
//!
//! All data are parameters, so the store compiles each template once; a text without a variable is not
//! asked at all.

use serde_json::{Value, json};

use super::shape::text;

/// What is to be done with a template.
#[derive(Debug, PartialEq)]
pub enum Template {
    /// Nothing: it says what it says.
    Plain(String),
    /// To be rendered by the store: the body of `_render/template`.
    Request(Value),
}

impl Template {
    /// Of a template as an action has it (`source` or `id`, `params`), with `ctx`.
    #[must_use]
    pub fn of(template: &Value, ctx: &Value) -> Self {
        let source = text(template, "source");
        let stored = template.get("id").and_then(Value::as_str);
        if stored.is_none() && !source.contains("{{") {
            return Self::Plain(source.to_owned());
        }
        let mut params = template["params"].as_object().cloned().unwrap_or_default();
        params.insert("ctx".to_owned(), ctx.clone());
        Self::Request(match stored {
            Some(id) => json!({"id": id, "params": params}),
            None => json!({"source": source, "params": params}),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_variables_is_rendered() {
        let ctx = json!({"a": 1});
        for (template, want) in [
            (json!({"source": "no variable }}"}), Template::Plain("no variable }}".to_owned())),
            (Value::Null, Template::Plain(String::new())),
            (
                json!({"source": "{{ctx.a}}", "lang": "mustache"}),
                Template::Request(json!({"source": "{{ctx.a}}", "params": {"ctx": {"a": 1}}})),
            ),
            (
                json!({"source": "{{b}}", "params": {"b": 2}}),
                Template::Request(json!({"source": "{{b}}", "params": {"b": 2, "ctx": {"a": 1}}})),
            ),
            (
                json!({"id": "stored"}),
                Template::Request(json!({"id": "stored", "params": {"ctx": {"a": 1}}})),
            ),
        ] {
            assert_eq!(Template::of(&template, &ctx), want);
        }
    }
}

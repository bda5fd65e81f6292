//! The body of a request: one of ours, or a template's.

use serde::Deserialize;

use super::{Notice, json, payload, template::Template};

/// What is sent where there is no template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// The alert as this program knows it.
    #[default]
    Alertloop,
    /// What Graylog's HTTP alarm callback posts.
    Graylog,
    /// What Graylog's HTTP notification posts since 3.1.
    GraylogEvent,
}

/// What makes a body.
#[derive(Clone, Debug)]
pub enum Body {
    /// One of ours; JSON.
    Payload(Payload),
    /// A template's.
    Template(Template),
}

impl Body {
    /// The body for an alert.
    ///
    /// # Errors
    /// Why there is none.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        match self {
            Self::Payload(Payload::Alertloop) => Ok(json::alertloop(notice).to_string()),
            Self::Payload(Payload::Graylog) => Ok(payload::graylog(notice).to_string()),
            Self::Payload(Payload::GraylogEvent) => Ok(payload::event(notice).to_string()),
            Self::Template(template) => template.render(notice).map_err(|fault| fault.to_string()),
        }
    }
}

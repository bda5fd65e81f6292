//! The body of a request: one of ours, or a template's.

use serde::Deserialize;

use super::{Notice, json};

/// What is sent where there is no template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// The alert as this program knows it.
    #[default]
    Alertloop,
}

/// What makes a body.
#[derive(Clone, Debug)]
pub enum Body {
    /// One of ours; JSON.
    Payload(Payload),
}

impl Body {
    /// The body for an alert.
    ///
    /// # Errors
    /// Why there is none.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        match self {
            Self::Payload(Payload::Alertloop) => Ok(json::alertloop(notice).to_string()),
        }
    }
}

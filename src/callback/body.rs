//! The body of a request: one of ours, or a template's.

use std::{fmt, sync::Arc};

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

/// Makes the body for an alert, or says why there is none.
pub type Make = dyn Fn(&Notice) -> Result<String, String> + Send + Sync;

/// What makes a body.
#[derive(Clone)]
pub enum Body {
    /// One of ours; JSON.
    Payload(Payload),
    /// Somebody else's, such as a template's.
    Made(Arc<Make>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(payload) => payload.fmt(f),
            Self::Made(_) => f.write_str("Made"),
        }
    }
}

impl Body {
    /// The body for an alert.
    ///
    /// # Errors
    /// Why there is none.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        match self {
            Self::Payload(Payload::Alertloop) => Ok(json::alertloop(notice).to_string()),
            Self::Made(make) => make(notice),
        }
    }
}

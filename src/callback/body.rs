//! The body of a request: one of ours, or a template's.

use serde::Deserialize;

use super::{Notice, json, ntopng, payload, template::Template};
use crate::secrets::CallbackSecret;

/// What stands for a secret where a body is shown.
const MASKED: &str = "***";

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
    /// What ntopng sends: its webhook by HTTP, one alert of its queue to a program.
    Ntopng,
}

/// What makes a body.
#[derive(Clone, Debug)]
pub enum Body {
    /// One of ours; JSON.
    Payload(Payload),
    /// What ntopng's webhook posts, with its `sharedsecret`.
    Ntopng(Option<CallbackSecret>),
    /// A template's.
    Template(Template),
}

impl Body {
    /// The body for an alert, as people may see it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        match self {
            Self::Ntopng(secret) => {
                Ok(ntopng::webhook(notice, secret.as_ref().map(|_| MASKED)).to_string())
            }
            other => other.to_send(notice),
        }
    }

    /// The body for an alert, with its secret.
    ///
    /// # Errors
    /// Why there is none.
    pub fn to_send(&self, notice: &Notice) -> Result<String, String> {
        match self {
            Self::Payload(Payload::Alertloop) => Ok(json::alertloop(notice).to_string()),
            Self::Payload(Payload::Graylog) => Ok(payload::graylog(notice).to_string()),
            Self::Payload(Payload::GraylogEvent) => Ok(payload::event(notice).to_string()),
            Self::Payload(Payload::Ntopng) => Ok(ntopng::queue(notice).to_string()),
            Self::Ntopng(secret) => {
                let secret = secret.as_ref().map(CallbackSecret::expose);
                Ok(ntopng::webhook(notice, secret).to_string())
            }
            Self::Template(template) => template.render(notice).map_err(|fault| fault.to_string()),
        }
    }
}

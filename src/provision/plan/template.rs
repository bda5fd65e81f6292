//! The index template: made where nobody else makes one.

use super::{Action, Object, Step, Work};
use crate::{
    opensearch::templates::{Legacy, matches},
    provision::{
        Settings, TemplateMode,
        desired::{Desired, TEMPLATE_NAME},
        diff::{Difference, diff, paths},
        probe::Live,
    },
};

/// What happens to the index template.
pub(super) fn step(settings: &Settings, desired: &Desired, live: &Live) -> Step {
    let leave = |name: &str, reason: String, warning| {
        let action = if warning { Action::warn(reason) } else { Action::leave(reason) };
        Step::new(Object::Template, name, action, None)
    };
    match settings.template {
        TemplateMode::None => {
            leave(TEMPLATE_NAME, "index templates are left to others".to_owned(), false)
        }
        TemplateMode::Malcolm if live.malcolm_template_exists => {
            Step::new(Object::Template, &settings.malcolm_template, Action::InSync, None)
        }
        TemplateMode::Malcolm => {
            let reason = "is awaited from Malcolm; records wait in the spool until it is there";
            leave(&settings.malcolm_template, reason.to_owned(), false)
        }
        TemplateMode::Auto => match &live.covering {
            Some(other) if other.maps_time_field => {
                leave(&other.name, format!("covers {}", desired.index_pattern), false)
            }
            Some(other) => {
                let (pattern, field) = (&desired.index_pattern, &settings.time_field);
                let reason =
                    format!("covers {pattern} but gives {field} no type; ours cannot help");
                leave(&other.name, reason, true)
            }
            None => match &desired.template {
                Some(wanted) => own_template(desired, wanted, live.template.as_ref()),
                None => leave(TEMPLATE_NAME, "its file was taken away".to_owned(), false),
            },
        },
    }
}

fn own_template(desired: &Desired, wanted: &Legacy, live: Option<&Legacy>) -> Step {
    let step = |action, work| Step::new(Object::Template, TEMPLATE_NAME, action, work);
    let Some(live) = live else {
        return step(Action::Create, Some(Work::PutTemplate(wanted.clone())));
    };
    let covers = live.index_patterns.iter().any(|p| matches(p, &desired.sample_index));
    let is_older = live.version.unwrap_or(0) < wanted.version.unwrap_or(0);
    let differences = diff(&wanted.mappings, &live.mappings);
    if covers && !is_older {
        if differences.is_empty() {
            return step(Action::InSync, None);
        }
        let reason = format!("edited by a user: {}", paths(&differences));
        return step(Action::leave(reason), None);
    }
    let mut next = live.clone();
    let mut lines = Vec::new();
    if !covers {
        // Another deployment on this store may need the patterns that are there.
        lines.push(format!("+ index_patterns: {}", desired.index_pattern));
        next.index_patterns.push(desired.index_pattern.clone());
    }
    let reason = if is_older {
        next.version = wanted.version;
        next.mappings = wanted.mappings.clone();
        lines.extend(differences.iter().map(Difference::to_string));
        "an older version of it is there".to_owned()
    } else {
        format!("does not cover {} yet", desired.index_pattern)
    };
    step(Action::Update { reason, diff: lines }, Some(Work::PutTemplate(next)))
}

//! Where people look at an alert. Pure.

use std::borrow::Cow;

use super::Alert;
use crate::opensearch::segment;

/// Where its source says; else, of an alert of OpenSearch, the monitor's page below the address of
/// Dashboards. `None` where nobody knows.
#[must_use]
pub fn of(alert: &Alert) -> Option<Cow<'_, str>> {
    if alert.url.is_some() || !alert.source.is_alerting() {
        return alert.url.as_deref().map(Cow::Borrowed);
    }
    let kind = if alert.is_composite { "workflow" } else { "monitor" };
    Some(match &alert.rule.id {
        // Who writes the alert must not choose another page.
        Some(id) => {
            format!("/dashboards/app/alerting#/monitors/{}?type={kind}", segment(id)).into()
        }
        None => "/dashboards/app/alerting#/dashboard".into(),
    })
}

/// Whether a browser opens it, and it is what it looks like: of the web, on one line, and read in one
/// direction.
#[must_use]
pub fn is_address(url: &str) -> bool {
    let is_odd = |letter: char| letter.is_whitespace() || turns_or_steers(letter);
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(is_odd)
}

/// Controls, ends of lines, and what changes the direction of text (UAX 9): what somebody else wrote
/// could steer a terminal with them, begin a line, or look like something else.
#[must_use]
pub fn turns_or_steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Source;

    #[test]
    fn only_what_dashboards_knows_is_to_be_looked_at_there() {
        for (source, want) in [
            (Source::OpenSearch, Some("/dashboards/app/alerting#/dashboard")),
            (Source::Reconciler, Some("/dashboards/app/alerting#/dashboard")),
            (Source::Graylog, None),
            (Source::Ntopng, None),
            (Source::Alertmanager, None),
        ] {
            assert_eq!(of(&Alert::of(source)).as_deref(), want, "{source}");
        }
    }

    #[test]
    fn an_id_leads_to_no_other_page() {
        for (id, want) in [
            ("ngaE_aEB6-x", "ngaE_aEB6-x"),
            ("../../x?type=\n#", "..%2F..%2Fx%3Ftype%3D%0A%23"),
            ("\"><script>", "%22%3E%3Cscript%3E"),
        ] {
            let mut alert = Alert::of(Source::OpenSearch);
            alert.rule.id = Some(id.to_owned());
            let want = format!("/dashboards/app/alerting#/monitors/{want}?type=monitor");
            assert_eq!(of(&alert).as_deref(), Some(want.as_str()));
        }
    }

    #[test]
    fn an_address_is_of_the_web_and_is_what_it_looks_like() {
        for (url, want) in [
            ("https://grafana.example.org/d/x?a=b", true),
            ("http://[::1]:9093", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("//example.org", false),
            (" https://example.org", false),
            ("https://example.org/\nX-A: b", false),
            ("https://example.org/\u{202e}gpj.exe", false),
            ("https://example.org/\u{1b}]0;x", false),
        ] {
            assert_eq!(is_address(url), want, "{url}");
        }
    }
}

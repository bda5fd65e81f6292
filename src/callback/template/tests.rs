use serde_json::{Value as Json, json};

use super::*;
use crate::{
    alert::{
        Alert, Source,
        occasion::{Message, Occasion},
    },
    callback::sample::{bare, sample},
};

/// The default template of Graylog's alert e-mail, 1.0 to 3.0, and its subject
/// (`FormattedEmailAlertSender.java`).
const LEGACY: &str = "##########\n\
    Alert Description: ${check_result.resultDescription}\n\
    Date: ${check_result.triggeredAt}\n\
    Stream ID: ${stream.id}\n\
    Stream title: ${stream.title}\n\
    Stream description: ${stream.description}\n\
    Alert Condition Title: ${alertCondition.title}\n\
    ${if stream_url}Stream URL: ${stream_url}${end}\n\
    \n\
    Triggered condition: ${check_result.triggeredCondition}\n\
    ##########\n\n\
    ${if backlog}Last messages accounting for this alert:\n\
    ${foreach backlog message}${message}\n\n${end}${else}<No backlog>\n${end}\n";
const LEGACY_SUBJECT: &str =
    "Graylog alert for stream: ${stream.title}: ${check_result.resultDescription}";

/// The default template of Graylog's event e-mail today (`EmailEventNotificationConfig.java`).
const MODERN: &str = "--- [Event Definition] ---------------------------\n\
    Title:       ${event_definition_title}\n\
    Description: ${event_definition_description}\n\
    Type:        ${event_definition_type}\n\
    --- [Event] --------------------------------------\n\
    Alert Replay:         ${http_external_uri}alerts/${event.id}/replay-search\n\
    Timestamp:            ${event.timestamp}\n\
    Message:              ${event.message}\n\
    Source:               ${event.source}\n\
    Key:                  ${event.key}\n\
    Priority:             ${event.priority}\n\
    Alert:                ${event.alert}\n\
    Timerange Start:      ${event.timerange_start}\n\
    Source Streams:       ${event.source_streams}\n\
    ${if event.fields}\nFields:\n${foreach event.fields field}  ${field.key}: ${field.value}\n${end}\n${end}\n\
    ${if event.aggregation_conditions}\nAggregation Conditions:\n\
    ${foreach event.aggregation_conditions condition}  ${condition.key}: ${condition.value}\n${end}\n${end}\n\
    ${if backlog}\nLast messages accounting for this alert:\n\
    ${foreach backlog message}\n${message}\n\n${end}\n${end}\n\n";

/// The default JSON of Graylog's custom HTTP notification, in short; `! last_message` is Graylog's.
const JSON: &str = "{\n  \"event_id\": \"${event.id}\",\n  \"event_message\": \"${event.message}\",\n\
      \"event_priority\": \"${event.priority}\"${if backlog},\n  \"backlog\": [\n\
      ${foreach backlog message}\n  { \"id\": \"${message.id}\",\n\
        \"message\": \"${message.message}\"}${if ! last_message},${end}${end}\n  ]${end}\n}";

fn rendered(text: &str, escape: Escape, notice: &Notice) -> String {
    Template::compile(text, escape).expect(text).render(notice).expect(text)
}

fn plain(text: &str) -> String {
    rendered(text, Escape::None, &sample())
}

/// An alert with so many messages of such a length.
fn with_backlog(messages: usize, length: usize) -> Notice {
    let message = |n: usize| Message {
        id: Some(format!("id-{n}")),
        message: Some("m".repeat(length)),
        source: Some("host".to_owned()),
        ..Message::default()
    };
    let backlog = (0..messages).map(message).collect();
    let occasion = Occasion { backlog, ..Occasion::default() };
    let alert = Alert { occasion: Some(Box::new(occasion)), ..Alert::of(Source::Graylog) };
    Notice { alert, ..bare() }
}

#[test]
fn graylogs_legacy_mail_is_printed_as_graylog_prints_it() {
    let description = "Stream had 2 messages in the last 1 minutes with trigger condition more than 1 messages. (Current grace time: 1 minutes)";
    let fields = |said: &str, n: u8| {
        let at = if n == 1 { "2026-11-07T07:59:59Z" } else { "2026-11-07T07:59:58Z" };
        format!(
            "source: web-1.example.org | message: {said} {{ facility: shop | full_message: {said} | level: 3 | timestamp: {at} | _id: c4d7e2a0-91b3-11f1-8f0c-00000000000{n} }}"
        )
    };
    let want = format!(
        "##########\n\
         Alert Description: {description}\n\
         Date: 2026-11-07T08:00:00.000Z\n\
         Stream ID: 6a1f20c4be01d2331c8e7b10\n\
         Stream title: Errors in production\n\
         Stream description: Every error of the shop\n\
         Alert Condition Title: Too many errors\n\
         Stream URL: https://graylog.example.org/streams/6a1f20c4be01d2331c8e7b10\n\
         \n\
         Triggered condition: 3c0e1b52-77d4-4f0a-9a65-1d2f84c6b7e9:message_count={{time: 1, threshold_type: more, threshold: 1, grace: 1}}, stream:={{6a1f20c4be01d2331c8e7b10: \"Errors in production\"}}\n\
         ##########\n\n\
         Last messages accounting for this alert:\n\
         {}\n\n{}\n\n\n",
        fields("WARN: <b>this is a sample</b>, not a real message", 1),
        fields("ERROR: this is a sample, not a real message", 2),
    );
    assert_eq!(plain(LEGACY), want);
    assert_eq!(
        plain(LEGACY_SUBJECT),
        format!("Graylog alert for stream: Errors in production: {description}")
    );
    assert!(rendered(LEGACY, Escape::None, &bare()).contains("<No backlog>\n"));
}

#[test]
fn graylogs_mail_of_today_is_printed() {
    let text = plain(MODERN);
    for part in [
        "Title:       Too many errors\n",
        "Type:        message_count\n",
        "Alert Replay:         alerts/alertloop-sample/replay-search\n",
        "Timestamp:            2026-11-07T08:00:00.000Z\n",
        "Key:                  \n",
        "Alert:                true\n",
        "Source Streams:       6a1f20c4be01d2331c8e7b10\n",
        "\nsource: web-1.example.org | message: ERROR: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Fields:"), "an empty map is not there: {text}");
}

#[test]
fn graylogs_json_is_json_whatever_a_message_holds() {
    let mut notice = sample();
    let said = "a \"quoted\" \\ text\nwith <b>lines</b>";
    if let Some(occasion) = &mut notice.alert.occasion {
        occasion.backlog[0].message = Some(said.to_owned());
    }
    let text = rendered(JSON, Escape::Json, &notice);
    let json: Json = serde_json::from_str(&text).expect(&text);
    assert_eq!(json["backlog"][0]["message"], said);
    assert_eq!(json["backlog"].as_array().map(Vec::len), Some(2), "no comma too many");
}

#[test]
fn our_own_syntax_has_the_same_names() {
    for (text, want) in [
        (
            "{{ alert.rule }} {{ alert.severity }} {{ alert.record }}",
            "Sample of alertloop 60 arkime_sessions3-261107/261107-alertloop-sample",
        ),
        (
            "{{ alert.record.id }} {{ alert.tags }} {{ alert.tags|join(', ') }}",
            "261107-alertloop-sample [\"sample\"] sample",
        ),
        (
            "{% for m in backlog %}{{ loop.index }}:{{ m.fields.level }} {% else %}none{% endfor %}",
            "1:3 2:3 ",
        ),
        ("{{ backlog[0].fields.nothing }}{{ backlog[7].fields.nothing.at.all }}.", "."),
        ("{{ alert.start|date('HH:mm', 'Europe/Berlin') }}", "08:59"),
        (
            "{{ check_result.triggeredCondition.parameters|tojson }}",
            r#"{"backlog": 5, "grace": 1, "threshold": 1, "threshold_type": "more", "time": 1}"#,
        ),
        ("{# jinja #}${HOME} {{ stream.title }}\n", "${HOME} Errors in production\n"),
        ("{{ event.priority }} {{ event.alert }} {{ event.key }}|{{ backlog_size }}", "2 true |2"),
    ] {
        assert_eq!(plain(text), want, "{text}");
    }
}

#[test]
fn html_is_text_in_html_and_stays_as_it_is_elsewhere() {
    for text in ["{{ backlog[0].message }}", "${backlog[0].message}"] {
        let notice = sample();
        let html = rendered(text, Escape::Html, &notice);
        assert!(html.contains("&lt;b&gt;this is a sample&lt;"), "{html}");
        assert!(plain(text).contains("<b>this is a sample</b>"));
    }
    let prefixed = rendered("${<i>,backlog[0].message,</i>}", Escape::Html, &sample());
    assert!(prefixed.starts_with("<i>WARN: &lt;b&gt;"), "{prefixed}");
    let whole = rendered("${foreach backlog m}${m}${end}", Escape::Html, &sample());
    assert!(whole.contains("&lt;b&gt;") && !whole.contains("<b>"), "{whole}");
}

#[test]
fn a_field_may_be_nested_or_dotted() {
    let mut notice = with_backlog(2, 1);
    if let Some(occasion) = &mut notice.alert.occasion {
        let fields = |json: Json| json.as_object().cloned().unwrap_or_default();
        occasion.backlog[0].fields =
            fields(json!({"source.ip": "10.0.0.1", "n": 1.5, "list": ["a", "b"]}));
        occasion.backlog[1].fields = fields(json!({"source": {"ip": "10.0.0.2"}}));
    }
    let text = "${foreach backlog m , }${m.fields.source.ip} ${m.fields.n} ${m.fields.list}${end}";
    assert_eq!(rendered(text, Escape::None, &notice), "10.0.0.1 1.5 [a, b], 10.0.0.2  ");
    let own = "{{ backlog[0].fields.message }} {{ backlog[0].fields._id }}";
    assert_eq!(rendered(own, Escape::None, &notice), "m id-0");
}

#[test]
fn an_unknown_name_is_an_error_at_load_wherever_it_stands() {
    for (text, line, what) in [
        ("a\n{{ stream.titel }}", 2, "unknown stream.titel; did you mean title?"),
        ("{{ nonsense }}", 1, "unknown nonsense"),
        ("{{ alert.severity.x }}", 1, "alert.severity has nothing below it"),
        ("{% if false %}\n{{ check_result.x }}{% endif %}", 2, "unknown check_result.x"),
        ("{% for m in backlog %}\n{{ m.titel }}{% endfor %}", 2, "titel"),
        ("{% for m in backlog %}{% if m.id %}{% else %}{{ m.no }}{% endif %}{% endfor %}", 1, "no"),
        ("{% for m in backlog %}{{ m.no|default('x') }}{% endfor %}", 1, "no"),
        ("{% for m in backlog %}{{ m.no if not m.id }}{% endfor %}", 1, "no"),
        ("{% set s = stream %}{{ s.no }}", 1, "unknown stream.no"),
        ("{{ stream.title|nofilter }}", 1, "nofilter"),
        ("{{ alert.start|date('ww') }}", 1, "unknown letter w"),
        ("{{ alert.start|date('HH', 'Mars') }}", 1, "unknown time zone Mars"),
        ("a\n{% if %}", 2, "unexpected"),
        ("a\n{{ alert.hits * 2 }}", 2, "add |or_else(…)"),
        ("${stream.id} {{ stream.title }}", 1, "in one template"),
        ("${stream.nothing}", 1, "unknown stream.nothing"),
        ("{% include 'x' %}", 1, ""),
    ] {
        let fault = Template::compile(text, Escape::None).map(drop).expect_err(text);
        assert!(fault.what.contains(what), "{text}: {fault}");
        assert_eq!(fault.line, line, "{text}: {fault}");
    }
}

#[test]
fn no_filter_makes_room_for_more_than_it_should() {
    for (text, want) in [
        ("{{ 'a\nb'|indent(1000000000) }}", None),
        ("{{ 'a\nb'|indent(width=1000000000) }}", None),
        ("{{ 'a\nb'|indent(2) }}", Some("a\n  b")),
        ("{{ 'a\nb'|indent(width=2, first=true) }}", Some("  a\n  b")),
        ("{{ [1]|batch(1000000000, 0)|length }}", None),
        ("{{ [1, 2, 3]|batch(2)|length }}", Some("2")),
        ("{{ [1, 2, 3]|batch(2, 1000000000)|length }}", Some("2")),
        ("{{ [1]|slice(1000000000)|length }}", None),
        ("{{ [1, 2, 3]|slice(2)|length }}", Some("2")),
        ("{{ {'a': 1}|tojson(1000000000) }}", None),
        ("{{ {'a': 1}|tojson(indent=1000000000) }}", None),
        ("{{ 1795287840001|tojson }}", Some("1795287840001")),
        ("{{ '%1000000000d'|format(1) }}", None),
        ("{{ '%*d'|format(1000000000, 1) }}", None),
        ("{{ '%03d'|format(1000000007) }}", Some("1000000007")),
    ] {
        let environment = environment(Escape::None);
        let seen = environment.render_str(text, ());
        assert_eq!(seen.as_deref().ok(), want, "{text}: {seen:?}");
        assert!(seen.is_ok() || format!("{seen:?}").contains("wider than"), "{text}: {seen:?}");
    }
}

#[test]
fn what_is_no_error_is_none() {
    for text in [
        "",
        "{{ range(3) }}",
        "{{ backlog[0].fields.whatever.it.is }}",
        "{% for key, value in event.fields|items %}{{ key }}{{ value }}{% endfor %}",
        "{% for f in event.fields|entries %}{{ f.key }}{% endfor %}",
        "{% for m in backlog[:3] %}{{ m.message|upper }}{% endfor %}",
        "{{ (backlog|first).message }}{{ backlog|length }}",
        "{% if alert.severity > 60 and backlog %}{{ backlog[3].message }}{% endif %}",
        "{{ check_result.triggeredCondition.parameters.anything }}",
        "{{DATE(${event.timestamp},SHORT)}}",
    ] {
        Template::compile(text, Escape::None).map(drop).expect(text);
    }
}

#[test]
fn a_huge_backlog_is_halved_until_the_text_fits() {
    let template = Template::compile(
        "[{% for m in backlog %}\"{{ m.message }}\"{{ ',' if not loop.last }}{% endfor %}] {{ backlog_size }}",
        Escape::None,
    );
    let template = template.expect("a template");
    let text = template.render(&with_backlog(500, 32 * 1_024)).expect("a text");
    assert!(text.len() <= LONGEST && text.ends_with("\"] 500"), "{}", text.len());
    assert!(text.len() > LONGEST / 4, "as much as fits, about: {}", text.len());
    let whole = template.render(&with_backlog(500, 100)).expect("a text");
    assert_eq!(whole.matches(',').count(), 499);
    // A text of its own is cut, on a letter.
    let long = template.render(&with_backlog(1, 2 << 20)).expect("a text");
    assert!(long.len() < 33 * 1_024 && long.contains('…'), "{}", long.len());
}

#[test]
fn too_much_work_is_a_fault_and_no_hang() {
    let text = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    let fault = Template::compile(text, Escape::None).map(drop).expect_err("too much");
    assert!(fault.what.contains("too much work"), "{fault}");
}

#[test]
fn a_backlog_that_is_too_much_work_is_halved_too() {
    let text = "{{ backlog_size }}{% for m in backlog %}{% for n in range(m.fields.n or 1) %}.{% endfor %}{% endfor %}";
    let template = Template::compile(text, Escape::None).expect("a template");
    let mut notice = with_backlog(500, 1);
    if let Some(occasion) = &mut notice.alert.occasion {
        for message in &mut occasion.backlog {
            message.fields.insert("n".to_owned(), json!(9_000));
        }
    }
    let text = template.render(&notice).expect("a text");
    assert!(text.starts_with("500....") && text.len() > 9_000, "{}", text.len());
}

#[test]
fn an_alert_goes_out_though_its_template_fails() {
    let failing = Template::compile("a\n{{ 5 // (alert.hits|or_else(5)) }}", Escape::None)
        .expect("a template");
    let usual = Template::compile("usual", Escape::None).expect("a template");
    let mut notice = sample();
    let text = |notice: &Notice| failing.render_or(&usual, &Model::of(notice)).expect("a text");
    assert_eq!(text(&notice), "a\n2");
    notice.alert.hits = Some(0);
    assert!(
        text(&notice).starts_with("usual\n(the template of this text failed: line 2: "),
        "{}",
        text(&notice)
    );
}

#[test]
fn templates_run_mildly_on_an_alert_of_which_nothing_is_known() {
    for text in [LEGACY, LEGACY_SUBJECT, MODERN, JSON] {
        let text = rendered(text, Escape::None, &bare());
        assert!(!text.contains("null") && !text.contains("none"), "{text}");
    }
}

#[test]
fn what_the_documentation_shows_is_what_comes_out() {
    let docs = include_str!("../../../docs/templates.md");
    let mut fences = docs.split("```").skip(1).step_by(2);
    let mut seen = 0;
    while let Some(fence) = fences.next() {
        let (language, template) = fence.split_once('\n').expect("a line");
        assert!(["jmte", "jinja"].contains(&language), "{language}");
        let want = fences.next().and_then(|fence| fence.strip_prefix("text\n"));
        assert_eq!(plain(template), want.expect("what it gives"), "{template}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

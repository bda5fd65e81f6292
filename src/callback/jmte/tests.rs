use super::*;

#[test]
fn the_language_of_jmte_becomes_minijinjas() {
    for (jmte, want) in [
        ("plain", "plain"),
        ("${stream.title}", "{{ stream.title }}"),
        ("${ stream.title }", "{{ stream.title }}"),
        ("${stream_url(none)}", r#"{{ stream_url|or_else("none") }}"#),
        (
            "${<b>,stream_url,</b>}",
            "{% if stream_url is present %}<b>{{ stream_url }}</b>{% endif %}",
        ),
        (
            "${[,stream_url(none),]}",
            r#"{% if stream_url|or_else("none") is present %}[{{ stream_url|or_else("none") }}]{% endif %}"#,
        ),
        (
            "${check_result.triggeredAt;date(HH:mm)}",
            r#"{{ check_result.triggeredAt|date("HH:mm") }}"#,
        ),
        ("${check_result.triggeredCondition}", "{{ check_result.triggeredCondition|java }}"),
        ("${event.source_streams}", "{{ event.source_streams|java }}"),
        ("${backlog[0].message}", "{{ backlog[0].message }}"),
        ("${backlog[last].fields.a-b}", r#"{{ backlog[-1].fields["a-b"]|java }}"#),
        ("${backlog.length}", "{{ (backlog|length) }}"),
        ("${if stream_url}a${end}", "{% if stream_url is present %}a{% endif %}"),
        ("${if !backlog}a${else}b${end}", "{% if backlog is not present %}a{% else %}b{% endif %}"),
        ("${IF ! backlog}a${END}", "{% if backlog is not present %}a{% endif %}"),
        ("${if event.key='a b'}x${end}", r#"{% if event.key|java == "a b" %}x{% endif %}"#),
        ("${if !event.priority=3}x${end}", r#"{% if event.priority|java != "3" %}x{% endif %}"#),
        (
            "${if event.key = stream.id}x${end}",
            "{% if event.key|java == (stream.id|java) %}x{% endif %}",
        ),
        (
            "${if event.timestamp;date(HH)='03'}x${end}",
            r#"{% if event.timestamp|date("HH") == "03" %}x{% endif %}"#,
        ),
        (
            "${foreach backlog message}${message.source}${end}",
            "{% for message in backlog %}{{ message.source }}{% endfor %}",
        ),
        (
            "${foreach backlog m , }${m.id}${end}",
            "{% for m in backlog %}{{ m.id }}{% if not loop.last %}, {% endif %}{% endfor %}",
        ),
        (
            "${foreach event.fields field}${field.key}=${field.value}${end}",
            "{% for field in event.fields|entries %}{{ field.key }}={{ field.value|java }}{% endfor %}",
        ),
        (
            "${foreach backlog m}${index_m}${if last_m}${else},${end}${_it.id}${end}",
            "{% for m in backlog %}{{ loop.index }}{% if loop.last %}{% else %},{% endif %}{{ m.id }}{% endfor %}",
        ),
        (
            "${foreach backlog m}${foreach m.stream_ids s}${if first_m}${s}${end}${end}${end}",
            "{% for m in backlog %}{% set loop_m = loop %}{% for s in m.stream_ids %}{% if loop_m.first %}{{ s }}{% endif %}{% endfor %}{% endfor %}",
        ),
        ("${-- a comment}a${}b${\n}c", "abc"),
        (r"\${no} \\ {{ x }} {% {", r#"${no} \ {{ "{" }}{ x }} {{ "{" }}% {{ "{" }}"#),
        ("{${stream.id}}", r#"{{ "{" }}{{ stream.id }}}"#),
    ] {
        assert_eq!(
            translate(jmte).map_err(|fault| fault.to_string()),
            Ok(want.to_owned()),
            "{jmte}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (jmte, line, what) in [
        ("a\n${stream.titel}", 2, "unknown stream.titel; did you mean title?"),
        ("${nonsense}", 1, "unknown nonsense"),
        ("${message.source}", 1, "unknown message"),
        ("${stream.title.length}", 1, "stream.title has nothing below it"),
        ("${backlog.message}", 1, "backlog is a list: use ${foreach backlog item}"),
        ("${if backlog}", 1, "${if …} without ${end}"),
        ("\n${if backlog or stream}${end}", 2, "takes one name; it cannot read `or`"),
        ("${if backlog}${else}${else}${end}", 1, "a second ${else}"),
        ("${foreach backlog}${end}", 1, "names no item"),
        ("${foreach backlog for}${end}", 1, "`for` cannot name an item"),
        ("${foreach backlog m}", 1, "${foreach …} without ${end}"),
        ("a${end}", 1, "${end} without"),
        ("a${else}", 1, "${else} without"),
        ("\n\n${stream", 3, "without `}`"),
        ("${stream.id;upper}", 1, "unknown renderer upper; known: date"),
        ("${event.timestamp;date(ww)}", 1, "unknown letter w"),
        ("${backlog[x].id}", 1, "give a number"),
        (&"${if backlog}".repeat(40), 1, "more than 32 blocks"),
    ] {
        let fault = translate(jmte).expect_err(jmte);
        assert!(fault.what.contains(what), "{jmte}: {fault}");
        assert_eq!(fault.line, line, "{jmte}");
    }
}

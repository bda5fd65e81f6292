use super::*;

#[test]
fn names_are_checked_at_every_place() {
    for (text, is_right) in [
        ("{{ stream.title }}", true),
        ("{{ stream.title or stream.nothing }}", false),
        ("{{ backlog[0].id }}", true),
        ("{% for m in backlog %}{{ m.id }}{% else %}{{ stream.no }}{% endfor %}", false),
        ("{% for m in backlog if m.no %}{% endfor %}", false),
        ("{% with s = stream %}{{ s.title }}{% endwith %}", true),
        ("{% raw %}{{ nothing }}{% endraw %}", true),
        ("{# {{ nothing }} #}", true),
    ] {
        assert_eq!(names(text).is_ok(), is_right, "{text}: {:?}", names(text));
    }
}

#[test]
fn both_syntaxes_in_one_are_told_and_braces_of_others_are_not() {
    for (text, is_right) in [
        ("${stream.id} {{DATE(x)}}", true),
        ("${stream.id} {{ stream.title }}", false),
        ("${stream.id} {%- if backlog %}", false),
        ("${stream.id} {{ \"a\": 1 }}", true),
    ] {
        assert_eq!(is_not_mixed(text).is_ok(), is_right, "{text}");
    }
}

#[test]
fn the_line_is_that_of_the_whole_name() {
    assert_eq!(line_of("idle\nid", "stream.id"), 2);
    assert_eq!(line_of("nothing", "stream.id"), 0);
}

//! Opens every branch of a template, so that one run sees all of it. Pure.

/// The template without its conditions: what `if`, `elif` and `else` choose between follows each
/// other, and the `else` of a loop follows the loop. What is no tag stays as it is.
pub fn open(text: &str) -> String {
    let mut open = Vec::new();
    let mut source = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) =
        rest.find("{%").into_iter().chain(rest.find("{#")).chain(rest.find("{{")).min()
    {
        source.push_str(&rest[..at]);
        let (close, is_tag) = match rest.as_bytes()[at + 1] {
            b'%' => ("%}", true),
            b'#' => ("#}", false),
            _ => ("}}", false),
        };
        let Some(length) = end(&rest[at + 2..], close) else { break };
        let (inner, after) = (&rest[at + 2..at + 2 + length], at + 2 + length + 2);
        if is_tag {
            let body = inner.trim_matches(['-', '+']).trim();
            let (word, condition) =
                body.split_at(body.find(char::is_whitespace).unwrap_or(body.len()));
            if word == "raw" {
                let length = rest[after..].find("endraw").map_or(rest.len(), |at| after + at);
                source.push_str(&rest[at..length]);
                rest = &rest[length..];
                // The tag `endraw` is now text of its own, up to where it closes.
                let close = rest.find("%}").map_or(rest.len(), |at| at + 2);
                source.push_str(&rest[..close]);
                rest = &rest[close..];
                continue;
            }
            source.push_str(&tag(word, condition, &rest[at..after], &mut open));
        } else {
            source.push_str(&rest[at..after]);
        }
        rest = &rest[after..];
    }
    source + rest
}

/// A block that is not closed yet.
enum Block {
    If,
    For,
    /// A loop that was closed before its `else`.
    Closed,
}

fn tag(word: &str, condition: &str, whole: &str, open: &mut Vec<Block>) -> String {
    match word {
        "if" => {
            open.push(Block::If);
            looked_at(condition)
        }
        "elif" => looked_at(condition),
        "else" => match open.pop() {
            Some(Block::For) => {
                open.push(Block::Closed);
                "{% endfor %}".to_owned()
            }
            other => {
                open.extend(other);
                String::new()
            }
        },
        "endif" => {
            open.pop();
            String::new()
        }
        "for" => {
            open.push(Block::For);
            whole.to_owned()
        }
        "endfor" => match open.pop() {
            Some(Block::Closed) => String::new(),
            _ => whole.to_owned(),
        },
        _ => whole.to_owned(),
    }
}

fn looked_at(condition: &str) -> String {
    format!("{{% set _looked_at = ({condition}) %}}")
}

/// Where `close` stands outside of texts in quotes.
fn end(text: &str, close: &str) -> Option<usize> {
    if close == "#}" {
        return text.find(close);
    }
    let (mut quote, mut is_escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if c == '\\' => is_escaped = true,
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[at..].starts_with(close) => return Some(at),
            Some(_) | None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_branch_follows_the_other() {
        for (text, want) in [
            (
                "a{% if x %}b{% elif y %}c{% else %}d{% endif %}e",
                "a{% set _looked_at = ( x) %}b{% set _looked_at = ( y) %}cde",
            ),
            ("{% for m in b %}x{% else %}y{% endfor %}z", "{% for m in b %}x{% endfor %}yz"),
            (
                "{%- for m in b -%}{% if m %}{% else %}y{% endif %}{%- endfor -%}",
                "{%- for m in b -%}{% set _looked_at = ( m) %}y{%- endfor -%}",
            ),
            ("{{ \"{% if x %}\" }}{# {% if x %} #}", "{{ \"{% if x %}\" }}{# {% if x %} #}"),
            (
                "{% raw %}{% if x %}{% endraw %}{% if y %}b{% endif %}",
                "{% raw %}{% if x %}{% endraw %}{% set _looked_at = ( y) %}b",
            ),
            ("{% if x == '%}' %}a{% endif %}", "{% set _looked_at = ( x == '%}') %}a"),
            ("plain { text }", "plain { text }"),
        ] {
            assert_eq!(open(text), want);
        }
    }
}

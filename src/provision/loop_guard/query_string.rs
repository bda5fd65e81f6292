//! Lucene's query syntax, evaluated on a document that holds what all of our records hold. What is
//! not understood may find it.
//!
//! `AND`, `OR` and `NOT` are read as Lucene's classic parser reads them: they have no precedence,
//! but make their neighbours required, optional or prohibited.

use super::{Truth, ours};

/// What joins two clauses that have nothing between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occur {
    Must,
    Should,
    Not,
}

/// Whether a query string finds our records.
pub fn finds_ours(text: &str, operator: Operator) -> Truth {
    match tokens(text) {
        Some(tokens) => clauses(&tokens, None, operator),
        None => Truth::Perhaps,
    }
}

/// Splits at white space outside of quotes and brackets; `None` where they do not close.
fn tokens(text: &str) -> Option<Vec<&str>> {
    let (mut tokens, mut begin) = (Vec::new(), None);
    let (mut depth, mut is_quoted, mut is_escaped) = (0_u32, false, false);
    for (at, letter) in text.char_indices() {
        if letter.is_whitespace() && depth == 0 && !is_quoted && !is_escaped {
            tokens.extend(begin.take().map(|begin| &text[begin..at]));
            continue;
        }
        begin = begin.or(Some(at));
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match letter {
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '(' | '[' | '{' if !is_quoted => depth += 1,
            ')' | ']' | '}' if !is_quoted => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    tokens.extend(begin.map(|begin| &text[begin..]));
    (depth == 0 && !is_quoted && !is_escaped).then_some(tokens)
}

fn clauses(tokens: &[&str], field: Option<&str>, operator: Operator) -> Truth {
    let mut all: Vec<(Occur, Truth)> = Vec::new();
    let (mut joint, mut is_negated) = (None, false);
    for token in tokens {
        match *token {
            "AND" | "&&" => joint = Some(Operator::And),
            "OR" | "||" => joint = Some(Operator::Or),
            "NOT" | "!" => is_negated = true,
            _ => {
                let (rest, mark) = match token.as_bytes()[0] {
                    b'+' => (&token[1..], Some(Occur::Must)),
                    b'-' | b'!' => (&token[1..], Some(Occur::Not)),
                    _ => (*token, None),
                };
                if let Some((occur @ (Occur::Must | Occur::Should), _)) = all.last_mut() {
                    match joint {
                        Some(Operator::And) => *occur = Occur::Must,
                        Some(Operator::Or) if operator == Operator::And => *occur = Occur::Should,
                        _ => {}
                    }
                }
                let is_required = match operator {
                    Operator::Or => joint == Some(Operator::And),
                    Operator::And => joint != Some(Operator::Or),
                };
                let occur = match mark {
                    _ if is_negated => Occur::Not,
                    Some(mark) => mark,
                    None if is_required => Occur::Must,
                    None => Occur::Should,
                };
                all.push((occur, clause(rest, field, operator)));
                (joint, is_negated) = (None, false);
            }
        }
    }
    let of =
        |wanted| all.iter().filter(move |(occur, _)| *occur == wanted).map(|(_, truth)| *truth);
    let needs_one = of(Occur::Must).next().is_none() && of(Occur::Should).next().is_some();
    let optional = if needs_one { Truth::any(of(Occur::Should)) } else { Truth::Yes };
    Truth::all(of(Occur::Must).chain(of(Occur::Not).map(Truth::not)).chain([optional]))
}

/// One clause: `field:value`, `field:"value"`, `field:(…)`, `(…)` or a bare word.
fn clause(text: &str, field: Option<&str>, operator: Operator) -> Truth {
    if let Some(group) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return tokens(group).map_or(Truth::Perhaps, |tokens| clauses(&tokens, field, operator));
    }
    if text == "*:*" || (text == "*" && field.is_none()) {
        return Truth::Yes;
    }
    match text.split_once(':') {
        Some(("_exists_", name)) => ours(name).map_or(Truth::Perhaps, |_| Truth::Yes),
        Some((name, value)) if !name.contains(['"', '\\', '(']) => {
            clause(value, Some(name), operator)
        }
        Some(_) => Truth::Perhaps,
        None => match field.and_then(ours) {
            Some(own) => value(text, own),
            None => Truth::Perhaps,
        },
    }
}

fn value(text: &str, own: &str) -> Truth {
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let plain = quoted.unwrap_or(text);
    let has_syntax = plain.contains(['\\', '"', '/', '~', '^', '[', '{', '<', '>', '(', ')']);
    if has_syntax || plain.is_empty() {
        return Truth::Perhaps;
    }
    // In an index without a template the field is analysed text.
    if quoted.is_some() {
        let may = plain != own && plain.to_lowercase().contains(own);
        return if may { Truth::Perhaps } else { Truth::of(plain == own) };
    }
    match fits(plain, own) {
        false if fits(&plain.to_lowercase(), own) => Truth::Perhaps,
        does => Truth::of(does),
    }
}

/// Whether a text fits a pattern of `*` (any characters) and `?` (one).
pub fn fits(pattern: &str, text: &str) -> bool {
    fn fit(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], rest) => rest.is_empty(),
            ([b'*', left @ ..], _) => {
                fit(left, text) || text.split_first().is_some_and(|(_, rest)| fit(pattern, rest))
            }
            ([b'?', left @ ..], [_, rest @ ..]) => fit(left, rest),
            ([x, left @ ..], [y, rest @ ..]) => x == y && fit(left, rest),
            (_, []) => false,
        }
    }
    fit(pattern.as_bytes(), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_is_safe_only_where_it_surely_leaves_our_records_out() {
        for (text, want) in [
            ("NOT event.module:alerting", Truth::No),
            ("-event.module:alerting", Truth::No),
            ("!event.module:alerting", Truth::No),
            ("a:b AND NOT event.module:alerting", Truth::No),
            ("a:b && !event.dataset:\"alerting\"", Truth::No),
            ("a:b -event.module:alerting c:d", Truth::No),
            ("(a:b OR c:d) AND NOT (event.module:alerting OR event.module:zeek)", Truth::No),
            ("a:\"x OR y\" AND NOT event.module:(alerting OR zeek)", Truth::No),
            ("event.module:zeek", Truth::No),
            ("event.module:zeek AND a:b", Truth::No),
            ("+event.module:zeek a:b", Truth::No),
            ("event.module:(zeek OR suricata)", Truth::No),
            ("event.dataset:conn OR event.dataset:dns", Truth::No),
            ("event.module:z*", Truth::No),
            ("NOT event.module:alert*", Truth::No),
            ("NOT _exists_:event.module", Truth::No),
            ("*:*", Truth::Yes),
            ("*", Truth::Yes),
            ("event.module:alerting", Truth::Yes),
            ("NOT event.module:zeek", Truth::Yes),
            ("a:b", Truth::Perhaps),
            ("a:b OR NOT event.module:alerting", Truth::No), // Lucene prohibits it all the same
            ("a:b OR event.module:zeek", Truth::Perhaps),
            ("event.module:zeek a:b", Truth::Perhaps),
            ("(a:b) (-event.module:alerting)", Truth::Perhaps),
            ("NOT event.module:/alert.*/", Truth::Perhaps),
            ("NOT event.module:ALERTING", Truth::Perhaps),
            ("NOT event.module:>a", Truth::Perhaps),
            ("a:\"NOT event.module:alerting", Truth::Perhaps),
            ("NOT event.module.keyword:alerting", Truth::Perhaps),
            ("say event.module", Truth::Perhaps),
        ] {
            assert_eq!(finds_ours(text, Operator::Or), want, "{text}");
        }
        for (text, want) in
            [("event.module:zeek a:b", Truth::No), ("event.module:zeek OR a:b", Truth::Perhaps)]
        {
            assert_eq!(finds_ours(text, Operator::And), want, "{text}");
        }
    }
}

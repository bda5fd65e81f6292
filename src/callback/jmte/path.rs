//! Names in JMTE (`message.fields.level`, `backlog[0]`, `last_item`), as minijinja writes them. Pure.

use super::lexer;
use crate::callback::{
    names::{Kind, ROOT},
    template::Fault,
};

/// What minijinja cannot use as the name of a loop's item.
const RESERVED: [&str; 17] = [
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "for",
    "loop",
    "self",
    "recursive",
];

/// What a name stands for.
#[derive(Debug)]
pub struct Place {
    /// As minijinja writes it.
    pub source: String,
    /// What stands there.
    pub kind: &'static Kind,
    /// Whether it is a loop's own truth, such as `last_item`.
    pub is_flag: bool,
}

/// A loop that a name may come from.
#[derive(Debug)]
pub struct Loop {
    name: String,
    kind: &'static Kind,
    /// Whether an inner loop asks for its state, such as `last_item`.
    pub is_asked_from_within: bool,
}

impl Loop {
    /// A loop over such items.
    pub fn new(name: &str, kind: &'static Kind, line: usize) -> Result<Self, Fault> {
        if is_identifier(name) && !RESERVED.contains(&name) {
            return Ok(Self { name: name.to_owned(), kind, is_asked_from_within: false });
        }
        let what = format!("`{name}` cannot name an item: use letters, digits and _");
        Err(Fault::at(line, what))
    }
}

/// The names that are known at a place.
#[derive(Debug, Default)]
pub struct Scope {
    loops: std::cell::RefCell<Vec<Loop>>,
}

impl Scope {
    /// Adds a loop.
    pub fn enter(&mut self, inner: Loop) {
        self.loops.get_mut().push(inner);
    }

    /// Takes away the innermost loop.
    pub fn leave(&mut self) -> Option<Loop> {
        self.loops.get_mut().pop()
    }

    /// What `path` stands for.
    pub fn place(&self, path: &str, line: usize) -> Result<Place, Fault> {
        let segments = lexer::segments(path);
        let (first, rest) = segments
            .split_first()
            .map_or(("", [].as_slice()), |(first, rest)| (first.as_str(), rest));
        if let Some(source) = self.state_of_loop(first).filter(|_| rest.is_empty()) {
            let is_index = first.starts_with("index_");
            let kind = if is_index { &Kind::Number } else { &Kind::Flag };
            return Ok(Place { source, kind, is_flag: !is_index });
        }
        let (name, index) = indexed(first, line)?;
        let mut at = match self.item(name) {
            Some((item, kind)) => Walk { source: item, path: name.to_owned(), kind, line },
            None => match ROOT.below(name) {
                Some(kind) => Walk { source: name.to_owned(), path: name.to_owned(), kind, line },
                None => return Err(Fault::at(line, ROOT.unknown("", name))),
            },
        };
        at.index(index)?;
        for segment in rest {
            at.step(segment)?;
        }
        Ok(Place { source: at.source, kind: at.kind, is_flag: false })
    }

    /// The item of a loop: by its name, or the innermost as `_it`.
    fn item(&self, name: &str) -> Option<(String, &'static Kind)> {
        let loops = self.loops.borrow();
        let found = loops.iter().rev().find(|one| one.name == name || name == "_it")?;
        Some((found.name.clone(), found.kind))
    }

    /// `first_item`, `last_item`, `odd_item`, `even_item` and `index_item`. JMTE counts `index_` from 1,
    /// and calls the first item even.
    fn state_of_loop(&self, name: &str) -> Option<String> {
        let (what, item) = name.split_once('_')?;
        let mut loops = self.loops.borrow_mut();
        let innermost = loops.len().checked_sub(1)?;
        let at = loops.iter().rposition(|one| one.name == item || item == "_it")?;
        let of =
            if at == innermost { "loop".to_owned() } else { format!("loop_{}", loops[at].name) };
        let source = match what {
            "first" => format!("{of}.first"),
            "last" => format!("{of}.last"),
            "even" => format!("({of}.index0 % 2 == 0)"),
            "odd" => format!("({of}.index0 % 2 == 1)"),
            "index" => format!("{of}.index"),
            _ => return None,
        };
        loops[at].is_asked_from_within |= at != innermost;
        Some(source)
    }
}

struct Walk {
    source: String,
    path: String,
    kind: &'static Kind,
    line: usize,
}

impl Walk {
    fn step(&mut self, segment: &str) -> Result<(), Fault> {
        if matches!(self.kind, Kind::List(_)) && segment.eq_ignore_ascii_case("length") {
            self.source = format!("({}|length)", self.source);
            self.kind = &Kind::Number;
            return Ok(());
        }
        let (name, index) = indexed(segment, self.line)?;
        let Some(kind) = self.kind.below(name) else {
            let what = match self.kind {
                Kind::List(_) => {
                    format!("{} is a list: use ${{foreach {} item}}", self.path, self.path)
                }
                kind => kind.unknown(&self.path, name),
            };
            return Err(Fault::at(self.line, what));
        };
        if is_identifier(name) {
            self.source.push('.');
            self.source.push_str(name);
        } else {
            self.source.extend([format!("[{}]", super::literal(name))]);
        }
        self.path = format!("{}.{name}", self.path);
        self.kind = kind;
        self.index(index)
    }

    fn index(&mut self, index: Option<&str>) -> Result<(), Fault> {
        let Some(index) = index else { return Ok(()) };
        let kind = match self.kind {
            Kind::List(kind) => kind,
            Kind::Free => &Kind::Free,
            _ => return Err(Fault::at(self.line, format!("{} is no list", self.path))),
        };
        let number = if index.eq_ignore_ascii_case("last") { Ok(-1) } else { index.parse::<i32>() };
        let number = number.map_err(|_| {
            let what = format!("{}[{index}]: give a number, or `last`", self.path);
            Fault::at(self.line, what)
        })?;
        self.source.extend([format!("[{number}]")]);
        self.kind = kind;
        Ok(())
    }
}

/// `name[index]`.
fn indexed(segment: &str, line: usize) -> Result<(&str, Option<&str>), Fault> {
    match segment.split_once('[') {
        None => Ok((segment, None)),
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(index) => Ok((name, Some(index.trim()))),
            None => Err(Fault::at(line, format!("`{segment}`: `[` without `]`"))),
        },
    }
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

//! The regular expressions of Lucene, as filters of buckets have them; they match a whole text. Pure.
//!
//! Known are `.`, `@` (any text), `#` (none), `|`, `?`, `*`, `+`, `{n,m}`, `[…]`, `[^…]`, `(…)`, `"…"`, `\`
//! and `<n-m>`; `~` (what does not match) and `&` (both) are not. Matching goes from set to set of places,
//! so that its time is the text's length times the expression's, squared at most.
//!
//! Source: the class comment of Lucene's `RegExp`.

use std::collections::BTreeSet;

/// The longest expression, as the store has it (`index.max_regex_length`).
const LONGEST: usize = 1_000;
/// How deep it may be nested, and how often one thing may be repeated in a row: each takes room.
const DEEPEST: usize = 50;

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(Node);

#[derive(Clone, Debug)]
enum Node {
    /// One after the other.
    All(Vec<Node>),
    /// One of them.
    One(Vec<Node>),
    /// At least and at most so often.
    Times(Box<Node>, usize, Option<usize>),
    /// A letter in one of these ranges, or in none of them.
    Letter(Vec<(char, char)>, bool),
    /// A decimal number between these.
    Number(u64, u64),
}

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    /// What about it cannot be read.
    pub fn of(expression: &str) -> Result<Self, String> {
        if expression.chars().count() > LONGEST {
            return Err(format!("it is longer than {LONGEST} letters"));
        }
        let mut reader = Reader { letters: expression.chars().collect(), at: 0, depth: 0 };
        let node = reader.any()?;
        match reader.peek() {
            None => Ok(Self(node)),
            Some(letter) => Err(format!("`{letter}` stands where nothing is open")),
        }
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.0.ends(&text, &BTreeSet::from([0])).contains(&text.len())
    }
}

impl Node {
    const fn any() -> Self {
        Self::Letter(Vec::new(), true)
    }

    fn text(text: &[char]) -> Self {
        Self::All(text.iter().map(|letter| Self::Letter(vec![(*letter, *letter)], false)).collect())
    }

    /// Where it can end when it begins at these places.
    fn ends(&self, text: &[char], starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        match self {
            Self::All(nodes) => {
                nodes.iter().fold(starts.clone(), |starts, node| node.ends(text, &starts))
            }
            Self::One(nodes) => nodes.iter().flat_map(|node| node.ends(text, starts)).collect(),
            Self::Letter(ranges, inverted) => {
                let is_one = |letter: char| {
                    ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != *inverted
                };
                let fits = |at: &&usize| text.get(**at).is_some_and(|letter| is_one(*letter));
                starts.iter().filter(fits).map(|at| at + 1).collect()
            }
            Self::Number(from, to) => {
                starts.iter().flat_map(|at| numbers(text, *at, *from, *to)).collect()
            }
            Self::Times(node, least, most) => {
                let mut now = starts.clone();
                for _ in 0..*least {
                    let next = node.ends(text, &now);
                    // Then no round brings anything new.
                    if next == now {
                        break;
                    }
                    now = next;
                }
                let mut seen = now.clone();
                // No more rounds than places bring anything new.
                let rounds = most.map_or(usize::MAX, |most| most.saturating_sub(*least));
                for _ in 0..rounds {
                    now = node.ends(text, &now).difference(&seen).copied().collect();
                    if now.is_empty() {
                        break;
                    }
                    seen.extend(&now);
                }
                seen
            }
        }
    }
}

/// Where a number between these ends that begins here.
fn numbers(text: &[char], at: usize, from: u64, to: u64) -> Vec<usize> {
    let digits =
        text[at.min(text.len())..].iter().take_while(|letter| letter.is_ascii_digit()).count();
    let fits = |end: &usize| {
        let number: String = text[at..*end].iter().collect();
        number.parse().is_ok_and(|number: u64| (from..=to).contains(&number))
    };
    (at + 1..=at + digits).filter(fits).collect()
}

struct Reader {
    letters: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn eat(&mut self, letter: char) -> bool {
        let is_next = self.peek() == Some(letter);
        self.at += usize::from(is_next);
        is_next
    }

    fn next(&mut self, missing: &str) -> Result<char, String> {
        let letter = self.peek().ok_or_else(|| format!("{missing} is missing at its end"))?;
        self.at += 1;
        Ok(letter)
    }

    fn any(&mut self) -> Result<Node, String> {
        if self.depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} times"));
        }
        self.depth += 1;
        let mut nodes = vec![self.all()?];
        while self.eat('|') {
            nodes.push(self.all()?);
        }
        self.depth -= 1;
        Ok(Node::One(nodes))
    }

    fn all(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while self.peek().is_some_and(|letter| !"|)".contains(letter)) {
            let one = self.one()?;
            nodes.push(self.times(one)?);
        }
        Ok(Node::All(nodes))
    }

    fn times(&mut self, mut node: Node) -> Result<Node, String> {
        for _ in 0..DEEPEST {
            let (least, most) = match self.peek() {
                Some('?') => (0, Some(1)),
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('{') => {
                    self.at += 1;
                    let inner = self.until('}')?;
                    let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
                    let number = |text: &str| {
                        let number = text.parse::<usize>().ok().filter(|number| *number <= 1_000);
                        number.ok_or_else(|| format!("`{{{inner}}}` is no count up to 1000"))
                    };
                    self.at -= 1;
                    (number(least)?, if most.is_empty() { None } else { Some(number(most)?) })
                }
                _ => return Ok(node),
            };
            self.at += 1;
            node = Node::Times(Box::new(node), least, most);
        }
        Err(format!("one thing is repeated more than {DEEPEST} times"))
    }

    fn until(&mut self, end: char) -> Result<String, String> {
        let mut inner = String::new();
        loop {
            let letter = self.next(&format!("`{end}`"))?;
            if letter == end {
                return Ok(inner);
            }
            inner.push(letter);
        }
    }

    fn one(&mut self) -> Result<Node, String> {
        Ok(match self.next("a letter")? {
            '(' => {
                let node = self.any()?;
                if !self.eat(')') {
                    return Err("`)` is missing at its end".to_owned());
                }
                node
            }
            '[' => self.letters()?,
            '.' => Node::any(),
            '@' => Node::Times(Box::new(Node::any()), 0, None),
            '#' => Node::One(Vec::new()),
            '"' => Node::text(&self.until('"')?.chars().collect::<Vec<_>>()),
            '<' => {
                let inner = self.until('>')?;
                let bounds = inner
                    .split_once('-')
                    .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
                let (from, to) =
                    bounds.ok_or_else(|| format!("`<{inner}>` is no range of numbers"))?;
                Node::Number(from, to)
            }
            letter @ ('~' | '&') => return Err(format!("`{letter}` is not understood here")),
            letter @ ('?' | '*' | '+' | '{') => {
                return Err(format!("nothing stands before `{letter}`"));
            }
            '\\' => Node::text(&[self.next("a letter")?]),
            letter => Node::text(&[letter]),
        })
    }

    fn letters(&mut self) -> Result<Node, String> {
        let inverted = self.eat('^');
        let mut ranges = Vec::new();
        while !self.eat(']') || ranges.is_empty() {
            let from = self.letter()?;
            let is_range = self.peek() == Some('-') && self.letters.get(self.at + 1) != Some(&']');
            let to = if is_range {
                self.at += 1;
                self.letter()?
            } else {
                from
            };
            ranges.push((from, to));
        }
        Ok(Node::Letter(ranges, inverted))
    }

    fn letter(&mut self) -> Result<char, String> {
        match self.next("`]`")? {
            '\\' => self.next("`]`"),
            letter => Ok(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_text_matches_or_not() {
        for (expression, text, want) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a.*", "abc", true),
            ("a|bc?", "b", true),
            ("(ab)+", "abab", true),
            ("(ab)+", "aba", false),
            ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
            ("a{2}", "aa", true),
            ("a{2,}", "a", false),
            ("a{1,3}", "aaaa", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a-]", "-", true),
            ("10\\.0\\..*", "10.0.1.2", true),
            ("\"a.*\"", "a.*", true),
            ("\"a.*\"", "abc", false),
            ("x@", "xyz", true),
            ("a#", "a", false),
            ("n<1-12>", "n7", true),
            ("n<1-12>", "n13", false),
            ("", "", true),
            ("ü.", "üb", true),
            // As many rounds as there are grains of sand.
            ("a{1000}{1000}{1000}{1000}", "aaa", false),
            ("(a?){1000}{1000}{1000}{1000}", "aaa", true),
        ] {
            assert_eq!(
                Pattern::of(expression).unwrap().matches(text),
                want,
                "{expression}: {text}"
            );
        }
        for expression in ["(", "a)", "[a", "*", "a{x}", "~a", "a&b", "\"a", "<a>", "\\", "a{2000}"]
        {
            assert!(Pattern::of(expression).is_err(), "{expression}");
        }
        let nested = |times: usize| format!("{}a{}", "(".repeat(times), ")".repeat(times));
        for (expression, want) in [
            ("(".repeat(100_000), "longer than"),
            (nested(400), "nested deeper"),
            (format!("a{}", "*".repeat(900)), "repeated more"),
        ] {
            let fault = Pattern::of(&expression).unwrap_err();
            assert!(fault.contains(want), "{fault}");
        }
        assert!(Pattern::of(&nested(DEEPEST)).unwrap().matches("a"));
    }
}

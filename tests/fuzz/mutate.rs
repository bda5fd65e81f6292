//! Makes hostile input of good input: bytes, words of the grammar, and whole JSON values.

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Map, Value, json};

/// The longest case, in bytes, but for the few that repeat a piece.
const LONGEST: usize = 8 << 10;
/// The longest of those: long enough to see work that grows with the square.
const REPEATED: usize = 192 << 10;
/// One case in so many is such a one.
const RARELY: u32 = 2_000;

/// Text that means something to somebody: to terminals, browsers, spreadsheets, queries and shells.
const HOSTILE: [&str; 24] = [
    "\u{1b}[2J\u{1b}]0;x\u{7}",
    "\u{9b}31m",
    "\u{202e}gpj.exe\u{2066}",
    "\r\nBcc: a@example.org\r\n",
    "\n{\"index\":{}}\n",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "=HYPERLINK(\"http://example.org\")",
    "${7*7}{{7*7}}{%for a in b%}",
    "*:* OR _exists_:a",
    "../../../../etc/passwd",
    "$(id)`id`;id|id",
    "\0",
    "\u{feff}",
    "\u{ffff}\u{10ffff}",
    "%00%0d%0a",
    "() { :;}; id",
    "1e309",
    "-9223372036854775809",
    "9999-12-31T23:59:59.999999999Z",
    "0000-00-00T00:00:00Z",
    "-271821-04-20T00:00:00Z",
    "18446744073709551616",
];

/// Makes cases of seeds, the same ones for the same number.
pub struct Mutator<'a> {
    random: SmallRng,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    pub fn new(seeds: &'a [Vec<u8>], words: &'a [&'a str], number: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(number), seeds, words }
    }

    /// The next case.
    pub fn next(&mut self) -> Vec<u8> {
        let mut case = self.seed();
        if self.random.random_ratio(1, 2)
            && let Ok(mut json) = serde_json::from_slice::<Value>(&case)
        {
            for _ in 0..self.random.random_range(1..5) {
                self.change(&mut json, 0);
            }
            case = json.to_string().into_bytes();
            if self.random.random_ratio(2, 3) {
                return case;
            }
        }
        for _ in 0..1_u32 << self.random.random_range(0..5) {
            self.mutate(&mut case);
        }
        if self.random.random_ratio(1, RARELY) {
            self.repeat(&mut case);
        } else {
            case.truncate(LONGEST);
        }
        case
    }

    fn seed(&mut self) -> Vec<u8> {
        match self.seeds.len() {
            0 => Vec::new(),
            length => self.seeds[self.random.random_range(0..length)].clone(),
        }
    }

    fn at(&mut self, case: &[u8]) -> usize {
        self.random.random_range(0..=case.len())
    }

    fn range(&mut self, case: &[u8]) -> std::ops::Range<usize> {
        let from = self.at(case);
        let most = (case.len() - from).min(1 << self.random.random_range(0..8));
        from..from + self.random.random_range(0..=most)
    }

    fn word(&mut self) -> &'a str {
        if self.words.is_empty() || self.random.random_ratio(1, 3) {
            HOSTILE[self.random.random_range(0..HOSTILE.len())]
        } else {
            self.words[self.random.random_range(0..self.words.len())]
        }
    }

    fn mutate(&mut self, case: &mut Vec<u8>) {
        let at = self.at(case);
        match self.random.random_range(0..9) {
            0 if at < case.len() => case[at] ^= 1 << self.random.random_range(0..8),
            1 if at < case.len() => case[at] = self.random.random(),
            2 => case.insert(
                at,
                *b"\"\\{}[]:,\n\0'$%&<>=#".get(self.random.random_range(0..18)).unwrap_or(&b'\xff'),
            ),
            3 => drop(case.drain(self.range(case))),
            4 => {
                let piece = case[self.range(case)].to_vec();
                case.splice(at..at, piece);
            }
            5 => {
                let other = self.seed();
                let piece = other[self.range(&other)].to_vec();
                case.splice(at..at, piece);
            }
            6 => case.truncate(at),
            7 => {
                let number = match self.random.random_range(0..4) {
                    0 => self.random.random::<i64>().to_string(),
                    1 => self.random.random::<f64>().to_string(),
                    2 => u64::MAX.to_string(),
                    _ => format!("1e{}", self.random.random_range(-400..400)),
                };
                case.splice(at..at, number.into_bytes());
            }
            _ => {
                let word = self.word();
                case.splice(at..at, word.bytes());
            }
        }
    }

    /// The same piece again and again: what is done for each of them may be done for all that follow.
    fn repeat(&mut self, case: &mut Vec<u8>) {
        let range = self.range(case);
        let piece = if self.random.random_ratio(1, 2) {
            self.word().as_bytes().to_vec()
        } else {
            case[range.clone()].to_vec()
        };
        if !piece.is_empty() {
            let times = self.random.random_range(1..REPEATED) / piece.len();
            case.splice(range, piece.repeat(times.max(1)));
        }
        case.truncate(REPEATED);
    }

    /// Puts another value somewhere into this one.
    fn change(&mut self, json: &mut Value, depth: usize) {
        let here = depth > 8 || self.random.random_ratio(1, 6);
        match json {
            Value::Object(object) if !object.is_empty() && !here => {
                let nth = self.random.random_range(0..object.len());
                let key = object.keys().nth(nth).cloned().unwrap_or_default();
                match self.random.random_range(0..10) {
                    0 => drop(object.remove(&key)),
                    1 => {
                        let value = self.value();
                        object.insert(self.word().to_owned(), value);
                    }
                    2 => {
                        let value = object.remove(&key).unwrap_or_default();
                        object.insert(self.word().to_owned(), value);
                    }
                    _ => {
                        if let Some(inner) = object.get_mut(&key) {
                            self.change(inner, depth + 1);
                        }
                    }
                }
            }
            Value::Array(items) if !items.is_empty() && !here => {
                let nth = self.random.random_range(0..items.len());
                match self.random.random_range(0..8) {
                    0 => drop(items.remove(nth)),
                    1 => {
                        let again = items[nth].clone();
                        let times = self.random.random_range(1..20);
                        items.extend(std::iter::repeat_n(again, times));
                    }
                    _ => self.change(&mut items[nth], depth + 1),
                }
            }
            Value::String(text) if self.random.random_ratio(2, 3) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.mutate(&mut bytes);
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            value => *value = self.value(),
        }
    }

    fn value(&mut self) -> Value {
        match self.random.random_range(0..12) {
            0 => Value::Null,
            1 => json!(self.random.random::<bool>()),
            2 => json!(self.random.random::<i64>()),
            3 => json!(self.random.random::<f64>() * 1e300),
            4 => json!(u64::MAX),
            5 => json!(self.random.random_range(-2..300)),
            6 => json!([]),
            7 => json!(Map::new()),
            8 => {
                let nested = (0..self.random.random_range(1..100)).fold(Value::Null, |inner, n| {
                    if n % 2 == 0 { json!([inner]) } else { json!({"a.b": inner}) }
                });
                json!(nested.to_string())
            }
            9 => (0..self.random.random_range(1..40)).fold(json!("x"), |inner, _| json!([inner])),
            _ => json!(self.word()),
        }
    }
}

//! Where a record goes: the day of its alert, and the name of its index.
//!
//! An alert must land in the index of the traffic that caused it, so a suffix means here what it
//! means to Malcolm's Logstash. `{{dotted.field}}` is a field of the record: lower case, only
//! `a-z 0-9 _ -` of it, no `-` or `_` at its start, and nothing at all when it is missing.
//! `%{…}` is Ruby's `strftime` of the start, in UTC and cut to whole seconds. Settings that could
//! make an illegal name are refused when they are read, so every name that comes out is legal.

use std::fmt::Write;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The longest name that OpenSearch takes, in bytes.
const LONGEST_NAME: usize = 255;
const DEFAULT_PATTERN: &str = "arkime_sessions3-*";
const DEFAULT_SUFFIX: &str = "%{%y%m%d}";

/// Returns the day of `start` in UTC as `yymmdd`, whatever the suffix of the index is.
#[must_use]
pub fn day(start: Timestamp) -> String {
    let mut day = String::with_capacity(6);
    let at = TimeZone::UTC.to_datetime(start);
    for letter in ['y', 'm', 'd'] {
        Directive { letter, pad: Pad::Zero }.write(&mut day, at);
    }
    day
}

/// Makes the name of the index that a record is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexName {
    parts: Vec<Part>,
    /// What every name has room for.
    capacity: usize,
    /// The most that one field may add, so that no name is too long.
    longest_field: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
    Date(Directive),
}

impl IndexName {
    /// Reads the pattern (`arkime_sessions3-*`) and the suffix (`%{%y%m%d}`). An empty one counts as not set, as it does for Malcolm.
    ///
    /// # Errors
    /// Says which of them cannot make a legal name, and why.
    pub fn new(pattern: &str, suffix: &str) -> Result<Self, String> {
        let prefix = non_empty(pattern).unwrap_or(DEFAULT_PATTERN).trim_end_matches('*');
        check_name(prefix).map_err(|fault| format!("the index pattern {fault}"))?;
        let suffix = non_empty(suffix).unwrap_or(DEFAULT_SUFFIX);
        let mut parts = vec![Part::Text(prefix.to_lowercase())];
        read_suffix(suffix, &mut parts).map_err(|fault| format!("the index suffix {fault}"))?;

        let fixed: usize = parts.iter().map(Part::longest).sum();
        let fields = parts.iter().filter(|part| matches!(part, Part::Field(_))).count();
        let room = LONGEST_NAME.checked_sub(fixed).filter(|room| *room >= fields);
        let room = room.ok_or("the index pattern and suffix are too long")?;
        let longest_field = room.checked_div(fields).unwrap_or(0);
        Ok(Self { parts, capacity: fixed + fields * longest_field, longest_field })
    }

    /// Returns the index for a record whose alert began at `start`.
    ///
    /// `field` reads a dotted field of the record as text; it is asked for those that the suffix
    /// names.
    #[must_use]
    pub fn index(&self, start: Timestamp, field: impl Fn(&str) -> Option<String>) -> String {
        let at = TimeZone::UTC.to_datetime(start);
        let mut name = String::with_capacity(self.capacity);
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Field(path) => {
                    let value = field(path).unwrap_or_default();
                    name.extend(legal_characters(&value).take(self.longest_field));
                }
                Part::Date(directive) => directive.write(&mut name, at),
            }
        }
        name
    }
}

fn non_empty(setting: &str) -> Option<&str> {
    Some(setting.trim()).filter(|setting| !setting.is_empty())
}

/// What Malcolm leaves of a field in a name.
fn legal_characters(value: &str) -> impl Iterator<Item = char> {
    value
        .chars()
        .flat_map(char::to_lowercase)
        .filter(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_' | '-'))
        .skip_while(|letter| matches!(letter, '_' | '-'))
}

// === reading the settings ===

/// Checks a name, or the beginning of one.
fn check_name(name: &str) -> Result<(), String> {
    if name.starts_with(['-', '_', '+']) {
        return Err("must not begin with `-`, `_` or `+`".to_owned());
    }
    if name.trim_matches('.').is_empty() {
        return Err("has no name in it".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Err("is too long".to_owned());
    }
    check_text(name)
}

fn check_text(text: &str) -> Result<(), String> {
    let illegal = |letter: char| {
        r#"\/*?"<>|,#:{}%"#.contains(letter) || letter.is_whitespace() || letter.is_control()
    };
    match text.chars().find(|letter| illegal(*letter)) {
        Some(letter) => Err(format!("has {letter:?}, which cannot stand in the name of an index")),
        None => Ok(()),
    }
}

fn read_suffix(mut rest: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    while !rest.is_empty() {
        rest = if let Some(after) = rest.strip_prefix("{{") {
            let (path, after) = after.split_once("}}").ok_or("has a `{{` without its `}}`")?;
            let path: String = path.split_whitespace().collect();
            if path.is_empty() || path.contains(['{', '}']) {
                return Err("has no field between `{{` and `}}`".to_owned());
            }
            parts.push(Part::Field(path));
            after
        } else if let Some(after) = rest.strip_prefix("%{") {
            let (format, after) = after.split_once('}').ok_or("has a `%{` without its `}`")?;
            read_format(format, parts)?;
            after
        } else {
            // A stray `{` or `%` stays in the text, which is then refused for it.
            let end = rest.char_indices().skip(1).find(|(_, next)| matches!(next, '{' | '%'));
            let (text, after) = rest.split_at(end.map_or(rest.len(), |(end, _)| end));
            read_text(text, parts)?;
            after
        };
    }
    Ok(())
}

fn read_text(text: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    check_text(text)?;
    if !text.is_empty() {
        parts.push(Part::Text(text.to_lowercase()));
    }
    Ok(())
}

/// Reads what stands between `%{` and `}`.
fn read_format(format: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    if format.is_empty() {
        return Err("has nothing between `%{` and `}`".to_owned());
    }
    let format = format.replace("%F", "%Y-%m-%d");
    let mut pieces = format.split('%');
    read_text(pieces.next().unwrap_or_default(), parts)?;
    for piece in pieces {
        let after_flags = piece.trim_start_matches(['-', '0', '_', '^', '#']);
        let flags = &piece[..piece.len() - after_flags.len()];
        let mut letters = after_flags.chars();
        let directive = letters.next().and_then(|letter| Directive::new(letter, flags));
        let directive = directive.ok_or_else(|| {
            let length = piece.len() - letters.as_str().len();
            format!("has `%{}`, which is no directive for the name of an index", &piece[..length])
        })?;
        parts.push(Part::Date(directive));
        read_text(letters.as_str(), parts)?;
    }
    Ok(())
}

impl Part {
    /// The most that it writes, but for a field.
    fn longest(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Field(_) => 0,
            Self::Date(directive) => directive.longest(),
        }
    }
}

// === strftime ===

/// One directive of Ruby's `strftime`. Names come out in lower case, so `^` and `#` do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directive {
    letter: char,
    pad: Pad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pad {
    Zero,
    /// Ruby writes a space, which no name may have; we write `_`.
    Blank,
    Bare,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

impl Directive {
    fn new(letter: char, flags: &str) -> Option<Self> {
        let pad = match flags.trim_matches(['^', '#']).chars().next_back() {
            Some('-') => Pad::Bare,
            Some('0') => Pad::Zero,
            Some('_') => Pad::Blank,
            _ if matches!(letter, 'e' | 'k' | 'l') => Pad::Blank,
            _ => Pad::Zero,
        };
        "YCymBbhdejHkIlMSLpPAauwGgVUWs".contains(letter).then_some(Self { letter, pad })
    }

    fn longest(self) -> usize {
        match self.letter {
            'u' | 'w' => 1,
            'j' | 'L' | 'b' | 'h' | 'a' => 3,
            'C' => 4,
            'Y' | 'G' => 5,
            'A' | 'B' => 9,
            's' => 13,
            _ => 2,
        }
    }

    fn write(self, name: &mut String, at: DateTime) {
        let (year, hour) = (i64::from(at.year()), i64::from(at.hour()));
        let week = at.date().iso_week_date();
        let (value, width) = match self.letter {
            'B' => return name.push_str(month_name(at)),
            'b' | 'h' => return name.push_str(&month_name(at)[..3]),
            'A' => return name.push_str(weekday_name(at)),
            'a' => return name.push_str(&weekday_name(at)[..3]),
            'p' | 'P' => return name.push_str(if hour < 12 { "am" } else { "pm" }),
            'Y' => (year, 4),
            'C' => (year.div_euclid(100), 2),
            'y' => (year.rem_euclid(100), 2),
            'm' => (at.month().into(), 2),
            'd' | 'e' => (at.day().into(), 2),
            'j' => (at.day_of_year().into(), 3),
            'H' | 'k' => (hour, 2),
            'I' | 'l' => ((hour + 11) % 12 + 1, 2),
            'M' => (at.minute().into(), 2),
            'S' => (at.second().into(), 2),
            'L' => (0, 3), // Logstash cuts the time to whole seconds before it formats it.
            's' => (at.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs(), 1),
            'u' => (at.weekday().to_monday_one_offset().into(), 1),
            'w' => (at.weekday().to_sunday_zero_offset().into(), 1),
            'U' => (week_of_year(at, at.weekday().to_sunday_zero_offset()), 2),
            'W' => (week_of_year(at, at.weekday().to_monday_zero_offset()), 2),
            'V' => (week.week().into(), 2),
            'G' => (week.year().into(), 4),
            _ => (i64::from(week.year()).rem_euclid(100), 2), // 'g'
        };
        push_number(name, value, width, self.pad);
    }
}

fn month_name(at: DateTime) -> &'static str {
    MONTHS[usize::from(at.month().unsigned_abs()) - 1]
}

fn weekday_name(at: DateTime) -> &'static str {
    WEEKDAYS[usize::from(at.weekday().to_sunday_zero_offset().unsigned_abs())]
}

/// The number of the week, where `since` days have passed since its first weekday and week 1
/// begins with the first such weekday of the year.
fn week_of_year(at: DateTime, since: i8) -> i64 {
    (i64::from(at.day_of_year()) + 6 - i64::from(since)) / 7
}

fn push_number(name: &mut String, value: i64, width: usize, pad: Pad) {
    let written = match pad {
        Pad::Zero => write!(name, "{value:0width$}"),
        Pad::Blank => write!(name, "{value:_>width$}"),
        Pad::Bare => write!(name, "{value}"),
    };
    written.unwrap_or_default(); // a `String` takes everything
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn no_field(_: &str) -> Option<String> {
        None
    }

    fn fields(path: &str) -> Option<String> {
        let value = match path {
            "event.provider" => "Malcolm",
            "host.name" => "Sensor-1.LAN",
            "path" => "_-/Var/\"Log\" *?<>|,#:\\",
            "umlaut" => "Überwachung 日本 \u{212a}",
            "long" => return Some("x".repeat(1000)),
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn suffixed(suffix: &str, start: &str) -> String {
        let name =
            IndexName::new("i-*", suffix).unwrap_or_else(|fault| panic!("{suffix}: {fault}"));
        name.index(at(start), fields)
    }

    #[test]
    fn the_day_turns_at_midnight_in_utc() {
        let table = [
            ("2026-11-04T23:59:59.999999999Z", "261104"),
            ("2026-11-05T00:00:00Z", "261105"),
            ("2026-11-05T00:30:00+01:00", "261104"),
            ("2026-11-04T23:30:00-01:00", "261105"),
            ("2026-12-31T23:59:59Z", "261231"),
            ("2027-01-01T00:00:00Z", "270101"),
            ("2000-02-29T12:00:00Z", "000229"),
            ("1999-12-31T12:00:00Z", "991231"),
            ("1990-01-01T00:00:00Z", "900101"),
            ("1969-12-31T23:59:59.5Z", "691231"),
            ("2109-03-01T00:00:00Z", "090301"),
        ];
        let name = IndexName::new("arkime_sessions3-*", "%{%y%m%d}").unwrap();
        for (start, want) in table {
            assert_eq!(day(at(start)), want, "{start}");
            assert_eq!(
                name.index(at(start), no_field),
                format!("arkime_sessions3-{want}"),
                "{start}"
            );
        }
    }

    #[test]
    fn an_empty_setting_is_malcolms_default() {
        let name = IndexName::new("", " ").unwrap();
        assert_eq!(name, IndexName::new("arkime_sessions3-*", "%{%y%m%d}").unwrap());
        assert_eq!(name.capacity, "arkime_sessions3-261105".len());
    }

    #[test]
    fn a_pattern_loses_its_stars_and_its_upper_case() {
        for (pattern, want) in [
            ("Arkime_Sessions3-*", "arkime_sessions3-26"),
            ("s", "s26"),
            ("s**", "s26"),
            (".s-*", ".s-26"),
        ] {
            let name = IndexName::new(pattern, "%{%y}").unwrap();
            assert_eq!(name.index(at("2026-11-05T01:15:00Z"), no_field), want);
        }
    }

    #[test]
    fn every_directive_is_rubys() {
        // A Thursday, a Sunday and a Monday, checked against the C library.
        let starts = ["2026-11-05T03:04:09.987Z", "2027-01-03T00:59:00Z", "2024-12-30T12:00:59Z"];
        let table = [
            ("%{%Y}", ["2026", "2027", "2024"]),
            ("%{%C-%y}", ["20-26", "20-27", "20-24"]),
            ("%{%m}", ["11", "01", "12"]),
            ("%{%-m.%_m}", ["11.11", "1._1", "12.12"]),
            ("%{%d.%-d}", ["05.5", "03.3", "30.30"]),
            ("%{%e_%-e_%0e}", ["_5_5_05", "_3_3_03", "30_30_30"]),
            ("%{%j.%-j}", ["309.309", "003.3", "365.365"]),
            ("%{%H.%k.%-H}", ["03._3.3", "00._0.0", "12.12.12"]),
            ("%{%I.%l.%-I}", ["03._3.3", "12.12.12", "12.12.12"]),
            ("%{%p%P%^p}", ["amamam", "amamam", "pmpmpm"]),
            ("%{%M%S%L}", ["0409000", "5900000", "0059000"]),
            ("%{%s}", ["1793847849", "1798937940", "1735560059"]),
            ("%{%a.%A}", ["thu.thursday", "sun.sunday", "mon.monday"]),
            ("%{%b.%^B.%h}", ["nov.november.nov", "jan.january.jan", "dec.december.dec"]),
            ("%{%u%w}", ["44", "70", "11"]),
            ("%{%U.%W}", ["44.44", "01.00", "52.53"]),
            ("%{%G.%g.%V}", ["2026.26.45", "2026.26.53", "2025.25.01"]),
            ("%{%F}", ["2026-11-05", "2027-01-03", "2024-12-30"]),
            ("%{%yw%-U}", ["26w44", "27w1", "24w52"]),
            ("%{%y%m%dh%H}", ["261105h03", "270103h00", "241230h12"]),
            ("%{%P%y%m%d}", ["am261105", "am270103", "pm241230"]),
            ("A%{Y%yM}-B%{%m}", ["ay26m-b11", "ay27m-b01", "ay24m-b12"]),
        ];
        for (suffix, want) in table {
            for (start, want) in starts.iter().zip(want) {
                assert_eq!(suffixed(suffix, start), format!("i-{want}"), "{suffix} {start}");
            }
        }
    }

    #[test]
    fn a_field_gives_only_what_malcolm_takes_of_it() {
        let table = [
            ("{{event.provider}}%{%y%m%d}", "malcolm261105"),
            ("{{ event . provider }}-{{host.name}}", "malcolm-sensor-1lan"),
            ("{{missing.field}}%{%y}", "26"),
            ("{{missing}}", ""),
            ("{{path}}%{%d}", "varlog05"),
            ("{{umlaut}}", "berwachungk"),
            ("%{%y}{{event.provider}}%{%m}{{event.provider}}", "26malcolm11malcolm"),
        ];
        for (suffix, want) in table {
            assert_eq!(suffixed(suffix, "2026-11-05T01:15:00Z"), format!("i-{want}"), "{suffix}");
        }
    }

    #[test]
    fn a_long_field_leaves_room_for_the_rest() {
        let name = suffixed("{{long}}-{{host.name}}%{%y%m%d}", "2026-11-05T01:15:00Z");
        assert_eq!(name.len(), 2 + 123 + 1 + "sensor-1lan261105".len());
        assert!(name.ends_with("xx-sensor-1lan261105"));
    }

    #[test]
    fn a_setting_that_could_make_an_illegal_name_is_refused_with_its_fault() {
        let long = "x".repeat(250);
        let table = [
            ("*", "%{%y}", "pattern has no name"),
            ("..*", "%{%y}", "pattern has no name"),
            ("_s-*", "%{%y}", "pattern must not begin with"),
            ("a*b*", "%{%y}", "pattern has '*'"),
            ("a,b-*", "%{%y}", "pattern has ','"),
            (&long, "%{%y%m%d}", "too long"),
            (&long.repeat(2), "", "pattern is too long"),
            (&long[1..], "%{%y%m%d}{{f}}", "too long"),
            ("i-*", "%{%y%Q}", "suffix has `%Q`"),
            ("i-*", "%{%y%-10N}", "suffix has `%-1`"),
            ("i-*", "%{%Ey}", "`%E`"),
            ("i-*", "%{%é}", "`%é`"),
            ("i-*", "%{%D}", "`%D`"),
            ("i-*", "%{%y%}", "`%`"),
            ("i-*", "%{%%y}", "`%`"),
            ("i-*", "%{}", "nothing between `%{` and `}`"),
            ("i-*", "%{%y", "a `%{` without its `}`"),
            ("i-*", "{{host.name}", "a `{{` without its `}}`"),
            ("i-*", "{{ }}", "no field"),
            ("i-*", "{{{x}}}", "no field"),
            ("i-*", "%{%y{{x}}}", "has '{'"),
            ("i-*", "%y%m%d", "has '%'"),
            ("i-*", "{x}", "has '{'"),
            ("i-*", "a b", "has ' '"),
            ("i-*", "%{%y/%m}", "has '/'"),
        ];
        for (pattern, suffix, want) in table {
            let fault = IndexName::new(pattern, suffix).unwrap_err();
            assert!(fault.contains(want), "{pattern} {suffix}: {fault}");
        }
    }

    fn is_legal(name: &str) -> bool {
        (1..=255).contains(&name.len())
            && name == name.to_lowercase()
            && !name.starts_with(['-', '_', '+'])
            && !name.contains(r#"\/*?"<>| ,#:"#.chars().collect::<Vec<_>>().as_slice())
            && ![".", ".."].contains(&name)
    }

    proptest! {
        #[test]
        fn every_name_is_legal(
            pattern in "[a-zA-ZÜ.*_-]{0,12}",
            suffix in r"(\{\{[a-z.]{1,3}\}\}|%\{(%[-0_^]{0,2}[YCymBbhdejHkIlMSLpPAauwGgVUWs]|[a-z.-]){1,6}\}|[a-zA-Z._-]{1,4}){0,8}",
            value in any::<String>(),
            start in any::<i64>(),
        ) {
            let start = Timestamp::from_second(start % 250_000_000_000).unwrap();
            if let Ok(name) = IndexName::new(&pattern, &suffix) {
                let index = name.index(start, |path| (path != "a").then(|| value.repeat(50)));
                prop_assert!(is_legal(&index), "{:?} {:?} → {:?}", pattern, suffix, index);
                prop_assert!(index.len() <= name.capacity);
            }
        }

        #[test]
        fn the_default_name_grows_by_the_day(days in 0..40_000_i64, second in 0..86_400_i64) {
            let start = at("1990-01-01T00:00:00Z") + (days * 24).hours() + second.seconds();
            let name = IndexName::new("", "").unwrap().index(start, no_field);
            prop_assert_eq!(name, format!("arkime_sessions3-{}", start.strftime("%y%m%d")));
        }

        #[test]
        fn weeks_and_days_are_those_of_jiff(seconds in 0..4_000_000_000_i64) {
            let start = Timestamp::from_second(seconds).unwrap();
            for format in ["%U", "%W", "%V", "%G", "%g", "%j", "%u", "%w", "%I", "%C", "%F", "%s", "%H%M%S"] {
                let name = IndexName::new("i", &format!("%{{{format}}}")).unwrap();
                prop_assert_eq!(name.index(start, no_field), format!("i{}", start.strftime(format)));
            }
        }
    }
}

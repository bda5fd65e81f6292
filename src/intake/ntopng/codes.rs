//! What ntopng's numbers mean, in both directions. `codes.tsv` is the one place where they stand;
//! `docs/ntopng-codes.md` is made from it.
//!
//! Source: ntopng's `alert_consts.lua`, `alert_keys.lua`, `flow_keys.lua`, `alert_entities.lua`,
//! `alert_keys/*.lua` and `ntop_typedefs.h` of its branches 3.6 to 6.2, nDPI's
//! `ndpi_protocol_ids.h` of the same times, and IANA's protocol numbers.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use super::version::Version;

const TSV: &str = include_str!("codes.tsv");

/// A table of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// `severity`, `alert_severity`.
    Severity,
    /// `entity_type`, `alert_entity`, `entity_id`.
    Entity,
    /// The engine of an engaged alert: how often it is looked at.
    Engine,
    /// `alert_granularity`, `granularity`: the same in seconds.
    Granularity,
    /// `AlertStatus` of the C++ part.
    Status,
    /// `alert_category`.
    Category,
    /// `type` and `alert_type`, up to 4.2.
    Type,
    /// `flow_status`, up to 4.2.
    FlowStatus,
    /// `alert_id` of flows, from 5.0 on.
    FlowAlert,
    /// `alert_id` of hosts.
    HostAlert,
    /// `alert_id` of everything else: from 4096 on.
    OtherAlert,
    /// `proto`: the protocol in an IP packet.
    L4,
    /// `l7_proto`, `l7_master_proto`: nDPI's number of an application protocol.
    L7,
}

impl Table {
    const ALL: [Self; 13] = [
        Self::Severity,
        Self::Entity,
        Self::Engine,
        Self::Granularity,
        Self::Status,
        Self::Category,
        Self::Type,
        Self::FlowStatus,
        Self::FlowAlert,
        Self::HostAlert,
        Self::OtherAlert,
        Self::L4,
        Self::L7,
    ];

    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::Entity => "entity",
            Self::Engine => "engine",
            Self::Granularity => "granularity",
            Self::Status => "status",
            Self::Category => "category",
            Self::Type => "type",
            Self::FlowStatus => "flow_status",
            Self::FlowAlert => "flow_alert",
            Self::HostAlert => "host_alert",
            Self::OtherAlert => "other_alert",
            Self::L4 => "l4",
            Self::L7 => "l7",
        }
    }
}

/// A line of the file.
#[derive(Clone, Copy, Debug)]
struct Code {
    table: Table,
    number: i64,
    name: &'static str,
    since: Option<Version>,
    until: Option<Version>,
}

impl Code {
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        let table = columns.next()?;
        let table = Table::ALL.into_iter().find(|one| one.name() == table)?;
        let number = columns.next()?.parse().ok()?;
        let name = columns.next()?;
        let mut version = || columns.next().and_then(|text| text.parse().ok());
        Some(Self { table, number, name, since: version(), until: version() })
    }

    fn holds(&self, version: Version) -> bool {
        self.since.is_none_or(|since| since <= version)
            && self.until.is_none_or(|until| version <= until)
    }

    /// Whether a version of the same form has it at all.
    fn is_near(&self, version: Version) -> bool {
        let generation = version.generation();
        let of = |bound: Option<Version>| bound.map(Version::generation);
        of(self.since).is_none_or(|since| since <= generation)
            && of(self.until).is_none_or(|until| until >= generation)
    }
}

struct Index {
    by_number: HashMap<(Table, i64), Vec<Code>>,
    by_name: HashMap<Table, HashMap<&'static str, Vec<Code>>>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { by_number: HashMap::new(), by_name: HashMap::new() };
    for code in TSV.lines().filter_map(Code::read) {
        index.by_number.entry((code.table, code.number)).or_default().push(code);
        let names = index.by_name.entry(code.table).or_default();
        names.entry(code.name).or_default().push(code);
    }
    index
});

/// The name of a code in this version; one that only another version of the same form has is better
/// than none.
#[must_use]
pub fn name(table: Table, number: i64, version: Version) -> Option<&'static str> {
    choose(INDEX.by_number.get(&(table, number))?, version).map(|code| code.name)
}

/// The code of a name, in the same way.
#[must_use]
pub fn number(table: Table, name: &str, version: Version) -> Option<i64> {
    let codes = INDEX.by_name.get(&table)?.get(name)?;
    choose(codes, version).map(|code| code.number)
}

/// The name of a code, or `unknown(number)`.
#[must_use]
pub fn named(table: Table, number: i64, version: Version) -> Cow<'static, str> {
    name(table, number, version)
        .map_or_else(|| Cow::Owned(format!("unknown({number})")), Cow::Borrowed)
}

fn choose(codes: &[Code], version: Version) -> Option<&Code> {
    let exact = codes.iter().find(|code| code.holds(version));
    exact.or_else(|| codes.iter().rev().find(|code| code.is_near(version)))
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, fs};

    use super::*;

    /// Set, the test of the document writes it in place of comparing it.
    const WRITE: &str = "ALERTLOOP_WRITE_DOCS";

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn a_code_means_what_its_version_says() {
        for (table, number, of, want) in [
            (Table::Severity, 2, "3.8", "error"),
            (Table::Severity, 2, "4.0", "error"),
            (Table::Severity, 2, "4.2", "info"),
            (Table::Severity, 8, "6.2", "emergency"),
            (Table::Severity, 5, "4.0", "error"),
            (Table::Severity, 5, "3.8", "unknown(5)"),
            (Table::Type, 6, "3.6", "flow_remote_to_remote"),
            (Table::Type, 6, "3.8", "remote_to_remote"),
            (Table::Type, 6, "4.2", "dropped_alerts"),
            (Table::Type, 17, "3.6", "mac_ip_association_change"),
            (Table::Type, 24, "3.8", "alert_device_protocol_not_allowed"),
            (Table::Type, 40, "3.8", "unknown(40)"),
            (Table::Type, 40, "4.2", "request_reply_ratio"),
            (Table::Type, 30, "4.0", "ping_issues"),
            (Table::Type, 30, "4.2", "am_threshold_cross"),
            (Table::Entity, 7, "3.8", "process"),
            (Table::Entity, 7, "6.2", "user"),
            (Table::Entity, 12, "4.0", "pinged_host"),
            (Table::Entity, 12, "5.0", "l7"),
            (Table::Entity, 12, "6.2", "domain"),
            (Table::FlowStatus, 13, "3.8", "blacklisted"),
            (Table::FlowStatus, 13, "4.2", "malicious_signature"),
            (Table::FlowAlert, 9, "5.4", "elephant_remote_to_local"),
            (Table::FlowAlert, 9, "6.2", "blacklisted_client_contact"),
            (Table::FlowAlert, 15, "6.2", "potentially_dangerous"),
            (Table::FlowAlert, 999, "6.2", "unknown(999)"),
            (Table::HostAlert, 20, "6.2", "scan_detected"),
            (Table::HostAlert, 20, "7.0", "scan_detected"),
            (Table::OtherAlert, 4136, "6.2", "threshold_cross"),
            (Table::OtherAlert, 40, "6.2", "unknown(40)"),
            (Table::Category, 1, "6.2", "security"),
            (Table::Engine, 1, "3.8", "5mins"),
            (Table::Granularity, 60, "6.2", "min"),
            (Table::L4, 6, "6.2", "tcp"),
            (Table::L4, 6, "3.6", "tcp"),
            (Table::L7, 7, "3.8", "http"),
        ] {
            assert_eq!(named(table, number, version(of)), want, "{table:?} {number} in {of}");
        }
    }

    #[test]
    fn a_name_leads_back_to_its_code() {
        for code in TSV.lines().filter_map(Code::read) {
            let of = code.since.unwrap_or(version("6.2"));
            let got = number(code.table, code.name, of);
            assert_eq!(
                got.and_then(|number| name(code.table, number, of)),
                Some(code.name),
                "{code:?}"
            );
        }
        assert_eq!(number(Table::Type, "mac_ip_association_change", version("3.8")), Some(17));
        assert_eq!(number(Table::Type, "mac_ip_association_change", version("4.2")), Some(22));
        assert_eq!(number(Table::Type, "no such", version("4.2")), None);
    }

    #[test]
    fn each_line_of_the_file_is_read_and_no_version_gives_a_code_two_names() {
        let lines = TSV.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(TSV.lines().filter_map(Code::read).count(), lines);
        for codes in INDEX.by_number.values() {
            for of in ["3.6", "3.8", "4.0", "4.2", "5.0", "5.2", "5.4", "5.6", "6.0", "6.2"] {
                let held = codes.iter().filter(|code| code.holds(version(of))).count();
                assert!(held <= 1, "{of}: {codes:?}");
            }
        }
    }

    #[test]
    fn the_document_of_the_codes_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ntopng-codes.md");
        let want = document();
        if std::env::var_os(WRITE).is_some() {
            fs::write(path, &want).unwrap();
        }
        let have = fs::read_to_string(path).unwrap_or_default();
        assert!(
            have == want,
            "docs/ntopng-codes.md is not what codes.tsv says; write it with {WRITE}=1 cargo test --lib the_document_of_the_codes"
        );
    }

    fn document() -> String {
        let mut text = String::from(HEAD);
        for table in Table::ALL {
            write!(text, "\n## {}\n\n{}\n\n", heading(table), about(table)).unwrap();
            text.push_str("| code | name | ntopng |\n|---|---|---|\n");
            for code in TSV.lines().filter_map(Code::read).filter(|code| code.table == table) {
                let versions = match (code.since, code.until) {
                    (None, _) => "any".to_owned(),
                    (Some(since), None) => format!("{since} and later"),
                    (Some(since), Some(until)) if since == until => since.to_string(),
                    (Some(since), Some(until)) => format!("{since} to {until}"),
                };
                writeln!(text, "| {} | `{}` | {versions} |", code.number, code.name).unwrap();
            }
        }
        text
    }

    const HEAD: &str = "# ntopng's codes

What ntopng's numbers mean, by version. alertloop writes the names into the records; a code that is
not here becomes `unknown(NUMBER)`. How alerts come in is in [ntopng.md](ntopng.md).

This file is made from `src/intake/ntopng/codes.tsv`; change that one.
Actions have no numbers: `engage`, `release`, `store`.
";

    fn heading(table: Table) -> &'static str {
        match table {
            Table::Severity => "Severities",
            Table::Entity => "Entities",
            Table::Engine => "Engines",
            Table::Granularity => "Granularities, in seconds",
            Table::Status => "States",
            Table::Category => "Categories",
            Table::Type => "Alert types up to 4.2",
            Table::FlowStatus => "Flow status up to 4.2",
            Table::FlowAlert => "Alert ids of flows, from 5.0 on",
            Table::HostAlert => "Alert ids of hosts, from 5.0 on",
            Table::OtherAlert => "Alert ids of everything else, from 5.0 on",
            Table::L4 => "Protocols of IP",
            Table::L7 => "Application protocols up to 4.2",
        }
    }

    fn about(table: Table) -> &'static str {
        match table {
            Table::Severity => {
                "`severity`, `alert_severity`. From 5.0 on it follows from `score`: below 1 `none`, 10 `info`, 50 `notice`,\n100 `warning`, 200 `error`, 250 `critical`, else `emergency`; up to 5.4 nothing is above `error`."
            }
            Table::Entity => "`entity_type`, `alert_entity`, `entity_id`: what an alert is about.",
            Table::Engine => "What finds an engaged alert; the first part of `alert_key`.",
            Table::Granularity => {
                "`alert_granularity`, `granularity`: how often it is looked at; 0 is not regularly."
            }
            Table::Status => "`AlertStatus` inside ntopng; no message has it.",
            Table::Category => "`alert_category`: `rule.category`.",
            Table::Type => "`type`, `alert_type`: `rule.name`.",
            Table::FlowStatus => "`flow_status`: what is wrong with a flow.",
            Table::FlowAlert => "`alert_id` where `entity_id` is 4.",
            Table::HostAlert => "`alert_id` where `entity_id` is 1 and it is below 4096.",
            Table::OtherAlert => "`alert_id` from 4096 on.",
            Table::L4 => "`proto`: `network.transport`.",
            Table::L7 => {
                "`l7_proto`, `l7_master_proto`, as nDPI numbers them; later versions send the name too (`proto.ndpi`)."
            }
        }
    }
}

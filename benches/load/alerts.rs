//! Ready-made bytes in which every alert or record has a place for its number: the request that
//! OpenSearch's loopback monitor sends, and the records of a `_bulk` body.

use jiff::Timestamp;

/// A number is written into a slot as this many bytes.
const SLOT: usize = 12;

/// The names and the day of one run.
#[derive(Clone)]
pub struct Run {
    /// `bench` and eight random hex digits: the monitor's name and the prefix of the indices.
    pub name: String,
    /// `2026-11-21`, in UTC, at the start of the run.
    pub day: String,
    /// Milliseconds since 1970 at the start of the run.
    pub millisecond: i64,
}

impl Run {
    pub fn new(now: Timestamp) -> Self {
        Self {
            name: format!("bench{:08x}", rand::random::<u32>()),
            day: now.strftime("%Y-%m-%d").to_string(),
            millisecond: now.as_millisecond(),
        }
    }

    /// The index template before which the sidecar of a backlog writes nothing.
    pub fn gate(&self) -> String {
        format!("{}-gate", self.name)
    }
}

/// What of an alert is unique.
#[derive(Clone, Copy)]
pub enum Unique {
    /// The source's own id.
    Id,
    /// The end of the period, to the millisecond (86 million in a day); the alert has no id.
    End,
}

/// What an answer shall wait for.
#[derive(Clone, Copy)]
pub enum Wait {
    /// The index, for five seconds.
    Index,
    /// Nothing but the disk.
    Disk,
    /// What the sidecar waits for when it is not told, as OpenSearch does not.
    Untold,
}

impl Wait {
    fn header(self) -> &'static str {
        match self {
            Self::Index => "Prefer: wait=5\r\n",
            Self::Disk => "Prefer: respond-async\r\n",
            Self::Untold => "",
        }
    }
}

/// Bytes with slots that are numbered anew before each use.
#[derive(Clone)]
pub struct Stencil {
    bytes: Vec<u8>,
    slots: Vec<usize>,
    write: fn(u64) -> [u8; SLOT],
    /// How many alerts or records the bytes hold.
    pub count: u64,
}

impl Stencil {
    fn new(write: fn(u64) -> [u8; SLOT]) -> Self {
        Self { bytes: Vec::new(), slots: Vec::new(), write, count: 0 }
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn slot(&mut self) -> &mut Self {
        self.slots.push(self.bytes.len());
        self.text("000000000000")
    }

    /// Puts the head of a POST request before the bytes.
    fn posted_to(mut self, host: &str, path: &str, content_type: &str, headers: &str) -> Self {
        let length = self.bytes.len();
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        )
        .into_bytes();
        self.slots.iter_mut().for_each(|slot| *slot += head.len());
        head.append(&mut self.bytes);
        self.bytes = head;
        self
    }

    /// The bytes, with the numbers from `first` on: one for each alert or record.
    pub fn numbered(&mut self, first: u64) -> &[u8] {
        let slots_each = self.slots.len() / usize::try_from(self.count).unwrap_or(usize::MAX);
        for (slots, number) in self.slots.chunks(slots_each).zip(first..) {
            let text = (self.write)(number);
            for slot in slots {
                self.bytes[*slot..*slot + SLOT].copy_from_slice(&text);
            }
        }
        &self.bytes
    }
}

/// The webhook of OpenSearch's loopback monitor; a `batch` of more than one is a JSON array.
pub fn webhook(
    run: &Run,
    unique: Unique,
    batch: u64,
    (host, path): (&str, &str),
    token: &str,
    wait: Wait,
) -> Stencil {
    let Run { name, day, .. } = run;
    let prefix = &name[name.len() - 8..];
    let mut body = Stencil::new(match unique {
        Unique::Id => hex,
        Unique::End => time_of_day,
    });
    for number in 0..batch {
        body.text(if batch == 1 { "" } else { ["[", ","][usize::from(number > 0)] });
        body.text(&format!(
            r#"{{
  "alert": {{
    "monitor": {{
      "name": "{name}"
    }},
    "trigger": {{
      "name": "more connections than usual",
      "severity": "3"
    }},
    "period": {{
      "start": "{day}T00:00:00.000Z",
      "end": "{day}T"#
        ));
        match unique {
            Unique::Id => body.text("00:01:00.000"),
            Unique::End => body.slot(),
        };
        body.text(
            r#"Z"
    },
    "results": [{"_shards":{"total":1,"failed":0,"successful":1,"skipped":0},"hits":{"hits":[],"total":{"value":7,"relation":"eq"},"max_score":null},"took":4,"timed_out":false}],
    "body": "",
    "alert": ""#,
        );
        match unique {
            Unique::Id => body.text(prefix).slot(),
            Unique::End => &mut body,
        };
        body.text("\",\n    \"error\": \"\"\n  }\n}\n");
    }
    body.text(if batch == 1 { "" } else { "]" }).count = batch;
    let headers = format!("Authorization: Bearer {token}\r\n{}", wait.header());
    body.posted_to(host, path, "application/json", &headers)
}

/// How the records of a `_bulk` body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// `create`: what is there already stays.
    Create,
    /// A scripted upsert: what is there already is merged.
    Upsert,
}

/// A `_bulk` request of `size` records like those that the sidecar writes.
pub fn bulk(run: &Run, index: &str, write: Write, size: u64, host: &str) -> Stencil {
    let Run { name, day, millisecond } = run;
    let short_day = day[2..].replace('-', "");
    let prefix = &name[name.len() - 8..];
    let action = match write {
        Write::Create => "create",
        Write::Upsert => "update",
    };
    let mut body = Stencil::new(hex);
    for _ in 0..size {
        body.text(&format!(r#"{{"{action}":{{"_index":"{index}","_id":"{short_day}-{prefix}"#));
        body.slot().text("\"}}\n");
        if write == Write::Upsert {
            body.text(
                r#"{"scripted_upsert":true,"upsert":{},"script":{"lang":"painless","source":""#,
            );
            body.text(MERGE).text(r#"","params":{"new":"#);
        }
        body.text(&format!(
            r#"{{"firstPacket":"{day}T00:00:00.000Z","lastPacket":"{day}T00:01:00.000Z","ecs":{{"version":"1.6.0"}},"event":{{"start":"{day}T00:00:00.000Z","end":"{day}T00:01:00.000Z","duration":60000000000,"ingested":"{day}T00:01:00.123Z","sequence":{millisecond},"kind":"alert","dataset":"alerting","module":"alerting","provider":"malcolm","action":"engaged","hash":"{hash}{prefix}"#,
            hash = "5f".repeat(22),
        ));
        body.slot().text(&format!(r#"","id":"{prefix}"#)).slot();
        body.text(&format!(
            r#"","reason":"more connections than usual","severity":60,"risk_score":60,"risk_score_norm":60,"severity_tags":["Alert"],"hits":7}},"rule":{{"name":"{name}"}},"tags":["alerting"]}}"#
        ));
        body.text(if write == Write::Upsert { "}}}\n" } else { "\n" });
    }
    body.count = size;
    body.posted_to(host, "/_bulk", "application/x-ndjson", "")
}

/// The least that a merge does: a newer state wins, the earliest start and the latest end stay.
const MERGE: &str = "def old = ctx._source; def now = params.new; \
    if (old.event == null) { old.putAll(now); } \
    else if (old.event.sequence >= now.event.sequence) { ctx.op = 'none'; } \
    else { if (old.firstPacket.compareTo(now.firstPacket) < 0) { now.firstPacket = old.firstPacket; } \
    if (old.lastPacket.compareTo(now.lastPacket) > 0) { now.lastPacket = old.lastPacket; } \
    old.putAll(now); }";

fn hex(number: u64) -> [u8; SLOT] {
    let mut rest = number;
    let mut text = [b'0'; SLOT];
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdef"[usize::from(rest.to_le_bytes()[0] & 15)];
        rest >>= 4;
    }
    text
}

/// `HH:MM:SS.mmm` of the given millisecond of a day.
fn time_of_day(millisecond: u64) -> [u8; SLOT] {
    let mut rest = millisecond;
    let mut text = *b"00:00:00.000";
    // From the last digit to the first: how many values the digit's place can take.
    for (place, base) in
        [(11, 10), (10, 10), (9, 10), (7, 10), (6, 6), (4, 10), (3, 6), (1, 10), (0, 10)]
    {
        text[place] = b'0' + (rest % base).to_le_bytes()[0];
        rest /= base;
    }
    text
}

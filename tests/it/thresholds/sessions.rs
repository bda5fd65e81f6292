//! Sessions of a made-up space of hosts, networks and interfaces, and what is true of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use alertloop::condition::threshold::networks::Cidr;
use serde_json::{Value, json};

use super::END;

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    /// What the source and what the destination sent; none where it was not counted.
    pub bytes: Option<[i64; 2]>,
    pub packets: [i64; 2],
    pub first: i64,
    pub last: i64,
    pub node: &'static str,
    /// Whether it is a record of ours, which never counts.
    pub is_ours: bool,
}

impl Session {
    pub fn document(&self) -> Value {
        let mut document = json!({"firstPacket": self.first, "lastPacket": self.last,
            "node": self.node, "event": {"module": if self.is_ours { "alerting" } else { "zeek" }},
            "network": {"packets": self.packets[0] + self.packets[1]}});
        for (side, address, place) in
            [("source", self.source, 0), ("destination", self.destination, 1)]
        {
            let Some(address) = address else { continue };
            document[side] = json!({"ip": address.to_string(), "packets": self.packets[place]});
            if let Some(bytes) = self.bytes {
                document[side]["bytes"] = json!(bytes[place]);
                document["network"]["bytes"] = json!(bytes[0] + bytes[1]);
            }
        }
        document
    }
}

/// Numbers that look random, the same for each seed.
pub struct Dice(u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn number(&mut self, end: i64) -> i64 {
        i64::try_from(self.below(end.unsigned_abs())).expect("small")
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("small")]
    }
}

/// Networks: they overlap, lie within one another, are of both kinds, have several parts, and the last
/// two have no traffic.
pub const NETWORKS: [(&str, &[&str]); 20] = [
    ("all of 10", &["10.0.0.0/8"]),
    ("left", &["10.1.0.0/16"]),
    ("left, front", &["10.1.0.0/25"]),
    ("left, back", &["10.1.0.128/25"]),
    ("right", &["10.2.0.0/16"]),
    ("both", &["10.1.0.0/16", "10.2.0.0/16"]),
    ("first", &["10.1.0.1/32"]),
    ("second", &["10.1.0.2"]),
    ("some", &["10.1.0.0/29"]),
    ("more", &["10.1.0.8/29", "10.2.0.0/28"]),
    ("across", &["10.0.0.0/15"]),
    ("half", &["0.0.0.0/1"]),
    ("old", &["0.0.0.0/0"]),
    ("new", &["::/0"]),
    ("six", &["2001:db8::/32"]),
    ("six, one", &["2001:db8:1::/48"]),
    ("six, few", &["2001:db8:1::/124"]),
    ("mixed", &["10.1.0.0/26", "2001:db8:1::8/125"]),
    ("nowhere", &["192.0.2.0/24"]),
    ("nowhere, new", &["2001:db8:ffff::/48"]),
];
const NODES: [&str; 3] = ["sensor-1", "sensor-2", "sensor-3"];
/// Those that are listed where interfaces are: one says nothing, and one is not asked for.
const LISTED: [&str; 3] = ["sensor-1", "sensor-2", "sensor-4"];
const SCOPE: [&str; 2] = ["10.1.0.0/17", "2001:db8:1::/126"];

/// 200 hosts with their sessions.
pub struct Space {
    pub sessions: Vec<Session>,
}

impl Space {
    pub fn new(seed: u64, count: usize) -> Self {
        let mut dice = Dice(seed);
        let v4 = |net: u8, host: u8| IpAddr::V4(Ipv4Addr::new(10, net, 0, host));
        let v6 = |host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host));
        let mut hosts: Vec<IpAddr> = (1..=120).map(|host| v4(1, host * 2)).collect();
        hosts.extend((1..=55).map(|host| v4(2, host)));
        hosts.extend((0..25).map(v6));
        // Some are only ever sources, or destinations.
        let (sources, destinations) = (&hosts[20..], &hosts[..180]);
        let spans = [60_000, 300_000, 3_600_000, 86_400_000, 100_000_000];
        let mut sessions: Vec<Session> = (0..count)
            .map(|_| {
                let span = dice.of(&spans);
                let length = dice.of(&[1, 2_000, 90_000, 4_000_000]);
                let last = END + 30_000 - dice.number(span + 30_000);
                Session {
                    source: (dice.below(30) > 0).then(|| dice.of(sources)),
                    destination: (dice.below(30) > 0).then(|| dice.of(destinations)),
                    bytes: (dice.below(40) > 0)
                        .then(|| [dice.number(5_000), dice.number(100) * dice.number(500)]),
                    packets: [dice.number(50), dice.number(50)],
                    first: last - dice.number(length),
                    last,
                    node: dice.of(&NODES),
                    is_ours: dice.below(25) == 0,
                }
            })
            .collect();
        // The edges of windows, twins that differ in nothing, and hosts that talk to themselves.
        for (at, other) in [(END, 0), (END - 1, 1), (END - 300_000, 2), (END - 300_001, 3)] {
            let (a, b) = (hosts[30 + other], hosts[60 + other]);
            let one = Session {
                source: Some(a),
                destination: Some(b),
                bytes: Some([7, 70]),
                packets: [1, 10],
                first: at,
                last: at,
                node: NODES[0],
                is_ours: false,
            };
            sessions.extend([one.clone(), one.clone(), one.clone()]);
            sessions.push(Session { destination: Some(a), ..one });
        }
        Self { sessions }
    }

    /// The lines of a file that say who it is about.
    pub fn who(entity: &str) -> String {
        let networks: Vec<_> = NETWORKS
            .iter()
            .map(|(name, cidrs)| format!("{{ name = \"{name}\", cidr = {cidrs:?} }}"))
            .collect();
        match entity {
            "host" => "entity = \"host\"".to_owned(),
            "scoped" => format!("entity = \"host\"\nscope = {SCOPE:?}"),
            "network" => format!("entity = \"network\"\nnetworks = [{}]", networks.join(", ")),
            "interface" => "entity = \"interface\"".to_owned(),
            _ => format!("entity = \"interface\"\ninterfaces = {LISTED:?}"),
        }
    }

    /// The number of each entity, by the definition: those that were seen, and those that are listed.
    pub fn truth(&self, entity: &str, metric: &str, from: i64, to: i64) -> BTreeMap<String, f64> {
        let mut all: BTreeMap<String, Vec<(&Session, [bool; 2])>> = BTreeMap::new();
        match entity {
            "network" => all.extend(NETWORKS.map(|(name, _)| (name.to_owned(), Vec::new()))),
            "listed" => all.extend(LISTED.map(|name| (name.to_owned(), Vec::new()))),
            _ => {}
        }
        let counts = |one: &&Session| (from..to).contains(&one.last) && !one.is_ours;
        for session in self.sessions.iter().filter(counts) {
            for (name, ends) in entities(entity, session) {
                all.entry(name).or_default().push((session, ends));
            }
        }
        let number = |sessions: &Vec<_>| number(entity, metric, sessions, from, to);
        all.iter().map(|(name, sessions)| (name.clone(), number(sessions))).collect()
    }
}

fn holds(cidrs: &[&str], address: Option<IpAddr>) -> bool {
    let cidr = |text: &&str| text.parse::<Cidr>().expect("a network");
    address.is_some_and(|address| cidrs.iter().any(|text| cidr(text).holds(address)))
}

/// Whom a session counts for, and whether each is its source and its destination.
fn entities(entity: &str, session: &Session) -> Vec<(String, [bool; 2])> {
    let (source, destination) = (session.source, session.destination);
    match entity {
        "host" | "scoped" => {
            let both: BTreeSet<IpAddr> = source.into_iter().chain(destination).collect();
            both.into_iter()
                .filter(|host| entity == "host" || holds(&SCOPE, Some(*host)))
                .map(|host| (host.to_string(), [source == Some(host), destination == Some(host)]))
                .collect()
        }
        "network" => NETWORKS
            .iter()
            .map(|(name, cidrs)| (*name, [holds(cidrs, source), holds(cidrs, destination)]))
            .filter(|(_, ends)| ends[0] || ends[1])
            .map(|(name, ends)| (name.to_owned(), ends))
            .collect(),
        "listed" if !LISTED.contains(&session.node) => Vec::new(),
        _ => vec![(session.node.to_owned(), [false, false])],
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn number(
    entity: &str,
    metric: &str,
    sessions: &[(&Session, [bool; 2])],
    from: i64,
    to: i64,
) -> f64 {
    let sum = |of: &dyn Fn(&Session, [bool; 2]) -> i64| -> f64 {
        sessions.iter().map(|(session, ends)| of(session, *ends)).sum::<i64>() as f64
    };
    // What is not counted of an end that is not there is not there.
    let bytes = |one: &Session| {
        let is_told = one.source.is_some() || one.destination.is_some();
        one.bytes.filter(|_| is_told).unwrap_or_default()
    };
    let of_end = |one: &Session, [source, destination]: [i64; 2]| {
        [
            if one.source.is_some() { source } else { 0 },
            if one.destination.is_some() { destination } else { 0 },
        ]
    };
    let sent = |[source, destination]: [i64; 2], ends: [bool; 2]| match ends {
        [true, true] if entity == "network" => 0,
        [true, true] => source + destination,
        [true, false] => source,
        [false, _] => destination,
    };
    let turned = |[source, destination]: [i64; 2]| [destination, source];
    match metric {
        "bytes" => sum(&|one, _| bytes(one).iter().sum()),
        "packets" | "sum(network.packets)" => sum(&|one, _| one.packets.iter().sum()),
        "max(network.packets)" => {
            let most = sessions.iter().map(|(one, _)| one.packets.iter().sum::<i64>()).max();
            most.expect("a session") as f64
        }
        "flows" => sessions.len() as f64,
        "bytes_sent" | "egress" => sum(&|one, ends| sent(of_end(one, bytes(one)), ends)),
        "bytes_received" | "ingress" => {
            sum(&|one, ends| sent(turned(of_end(one, bytes(one))), ends))
        }
        "packets_sent" => sum(&|one, ends| sent(of_end(one, one.packets), ends)),
        "packets_received" => sum(&|one, ends| sent(turned(of_end(one, one.packets)), ends)),
        "inner" => sum(&|one, ends| if ends == [true, true] { bytes(one).iter().sum() } else { 0 }),
        "active" => {
            let seconds: BTreeSet<i64> = sessions
                .iter()
                .flat_map(|(one, _)| one.first.max(from) / 1_000..=one.last.min(to - 1) / 1_000)
                .collect();
            seconds.len() as f64
        }
        other => panic!("{other}"),
    }
}

//! What happened, for people, where ntopng does not say it: since 4.0 its messages have codes alone.

use serde_json::Value;

use super::{
    address::bare,
    flow::{End, Flow},
    told::Told,
};

/// Words that are written in capitals.
const CAPITALS: [&str; 34] = [
    "alpn", "am", "asn", "dga", "dhcp", "dns", "esni", "fin", "http", "https", "icmp", "ids",
    "iec", "iec104", "idn", "ip", "ips", "l7", "mac", "nfq", "ntp", "rce", "rst", "sni", "smb",
    "smtp", "snmp", "sql", "ssh", "ssl", "syn", "tcp", "tls", "udp",
];

/// `Scan detected: host 10.0.0.1 (score 100)`.
pub fn sentence(told: &Told, flow: Option<&Flow>) -> String {
    let mut text = title(&told.kind.name);
    text.push_str(": ");
    text.push_str(&subject(told, flow));
    if let Some(crossed) = crossed(told) {
        text.extend([", ", &crossed]);
    }
    let beside = beside(told, flow);
    if !beside.is_empty() {
        text.extend([" (", &beside.join(", "), ")"]);
    }
    text
}

/// `scan_detected` → `Scan detected`.
fn title(name: &str) -> String {
    let name = ["ndpi_", "alert_"]
        .iter()
        .fold(name, |name, first| name.strip_prefix(first).unwrap_or(name));
    let word = |word: &str| {
        if CAPITALS.contains(&word) { word.to_uppercase() } else { word.to_owned() }
    };
    let text = name.split('_').map(word).collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn subject(told: &Told, flow: Option<&Flow>) -> String {
    if let Some(flow) = flow.filter(|flow| **flow != Flow::default()) {
        let (client, server) = (end(&flow.client), end(&flow.server));
        return format!("{client} to {server}");
    }
    let kind = told.entity.name.replace('_', " ");
    match bare(&told.value).as_str() {
        "" => kind,
        value if value == kind => kind,
        value => format!("{kind} {value}"),
    }
}

fn end(end: &End) -> String {
    let host = match (end.ip, &end.name) {
        (Some(std::net::IpAddr::V6(ip)), _) if end.port.is_some() => format!("[{ip}]"),
        (Some(ip), _) => ip.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "unknown".to_owned(),
    };
    match end.port {
        Some(port) if port > 0 => format!("{host}:{port}"),
        _ => host,
    }
}

/// `bytes 90210 > 1000`, of a threshold that was crossed.
fn crossed(told: &Told) -> Option<String> {
    let shown = |key: &str| match told.details.get(key)? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() && text.len() <= 64 => Some(text.clone()),
        _ => None,
    };
    let (value, threshold) = (shown("value")?, shown("threshold")?);
    let metric = shown("metric").unwrap_or_else(|| "value".to_owned());
    let sign = match shown("operator").as_deref() {
        Some("lt" | "<") => "<",
        Some("eq" | "=") => "=",
        _ => ">",
    };
    Some(format!("{metric} {value} {sign} {threshold}"))
}

fn beside(told: &Told, flow: Option<&Flow>) -> Vec<String> {
    let protocol = flow.and_then(|flow| {
        let transport = flow.transport.map(str::to_owned);
        let parts = [transport, flow.protocol.clone()];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .filter(|text| !text.is_empty())
    });
    let status = told.flow_status.as_ref().map(|status| status.name.replace('_', " "));
    let status = status.filter(|status| status != "normal");
    let info = flow.and_then(|flow| flow.info.clone()).filter(|info| info.len() <= 256);
    let score = told.score.map(|score| format!("score {score}"));
    [protocol, status, info, score].into_iter().flatten().collect()
}

//! What a file of a `threshold_cross` has of its own.

use std::collections::HashSet;

use toml::{Spanned, Value};

use super::{At, Defaults, File, Read, named, number, template};
use crate::{
    alert::crossing::{Crossing, Every, Kind, Metric, Unit},
    condition::{
        Expression, Schedule, Threshold,
        series::Series,
        threshold::{Network, Who, networks::Cidr, quantity},
    },
};

/// Its own fields.
pub(super) const OWN: [&str; 11] = [
    "entity",
    "scope",
    "networks",
    "interfaces",
    "field",
    "metric",
    "operator",
    "threshold",
    "query",
    "delay",
    "every",
];
/// The field that names an interface where the file names none: Malcolm's sensor, which Arkime and
/// Logstash write into every session.
const INTERFACE: &str = "node";
/// Logs of the last minute come within the next one.
const DELAY: u32 = 1;
const LONGEST_DELAY: i64 = 59;
/// The store answers a search with so many clauses at most (`indices.query.bool.max_clause_count`).
const MOST_NETWORKS: usize = 1_000;

/// Sessions are recorded when they are over: by their begin, those of the last minute that took
/// longer would never be seen.
pub(super) fn time_field(defaults: Defaults<'_>) -> String {
    match defaults.time_field {
        "firstPacket" => "lastPacket".to_owned(),
        other => other.to_owned(),
    }
}

impl File {
    pub(super) fn threshold_cross(&self) -> Read<Threshold> {
        let other = [
            ("time", self.time.as_ref().map(Spanned::span)),
            ("cron", self.cron.as_ref().map(Spanned::span)),
        ];
        for (name, span) in other {
            if let Some(span) = span {
                let what = format!("a threshold_cross has no `{name}`: `every` says it");
                return Err(At(span, what));
            }
        }
        let kind = self.entity()?;
        let metric = self.metric(kind)?;
        let statistic = self.statistic_of(&metric)?;
        let crossing = Crossing {
            kind,
            field: None,
            every: self.granularity()?,
            is_less: self.is_less()?,
            threshold: self.quantity(metric.unit())?,
            metric,
        };
        let who = self.who(kind)?;
        let field = match &who {
            Who::Interfaces { field, .. } => Some(field.clone()),
            _ => None,
        };
        let zone = self.timezone.as_ref().map_or("UTC", |zone| zone.get_ref().as_str()).to_owned();
        let threshold = Threshold {
            crossing: Crossing { field, ..crossing },
            who,
            statistic,
            delay: number("delay", self.delay.as_ref(), 0..=LONGEST_DELAY)?.unwrap_or(DELAY),
            zone,
        };
        if let (Some(zone), Schedule::Cron { .. }) = (&self.timezone, threshold.schedule()) {
            threshold.schedule().check().map_err(|what| At(zone.span(), what))?;
        }
        Ok(threshold)
    }

    fn entity(&self) -> Read<Kind> {
        let allowed = Kind::ALL.map(Kind::name).join(", ");
        let Some(entity) = &self.entity else {
            return Err(At(0..0, format!("`entity` is missing: one of {allowed}")));
        };
        Kind::of(entity.get_ref().trim()).ok_or_else(|| {
            let what = format!("there is no entity {:?}; there are {allowed}", entity.get_ref());
            At(entity.span(), what)
        })
    }

    fn metric(&self, kind: Kind) -> Read<Metric> {
        let Some(given) = &self.metric else {
            return Err(At(0..0, format!("`metric` is missing: one of {}", Metric::ALLOWED)));
        };
        let metric = Metric::of(given.get_ref().trim());
        let what = match (kind, &metric) {
            (Kind::Interface, metric) if metric.has_sides() => {
                "an interface has no sides: `metric` is one of bytes, packets, flows, active, or a \
                 statistic of a field such as sum(source.bytes)"
            }
            (Kind::Host, Metric::Inner) => "`inner` is a metric of networks",
            _ => return Ok(metric),
        };
        Err(At(given.span(), what.to_owned()))
    }

    fn statistic_of(&self, metric: &Metric) -> Read<Option<Series>> {
        let (Metric::Statistic(text), Some(given)) = (metric, &self.metric) else {
            return Ok(None);
        };
        let fault = |what: String| At(given.span(), what);
        if !text.contains('(') {
            let what = format!("there is no metric {text:?}; there are {}", Metric::ALLOWED);
            return Err(fault(what));
        }
        if text.contains("{{") {
            return Err(fault(template("metric")));
        }
        let series =
            Expression::parse_series(text).map_err(|what| fault(format!("`metric`: {what}")))?;
        if series.single().is_none() {
            let what = "`metric` takes sum, mean, min, max, count and cardinality of a field";
            return Err(fault(what.to_owned()));
        }
        Ok(Some(series))
    }

    fn granularity(&self) -> Read<Every> {
        let Some(every) = &self.every else {
            return Err(At(0..0, format!("`every` is missing: one of {}", Every::ALLOWED)));
        };
        let found = every.get_ref().as_str().and_then(|name| Every::of(name.trim()));
        found.ok_or_else(|| {
            let what = format!("`every` of a threshold_cross is one of {}", Every::ALLOWED);
            At(every.span(), what)
        })
    }

    fn is_less(&self) -> Read<bool> {
        match self.operator.as_ref().map(|operator| (operator.get_ref().trim(), operator.span())) {
            None | Some(("gt" | ">", _)) => Ok(false),
            Some(("lt" | "<", _)) => Ok(true),
            Some((other, span)) => {
                let what =
                    format!("there is no operator {other:?}; there are gt (more) and lt (less)");
                Err(At(span, what))
            }
        }
    }

    fn quantity(&self, unit: Unit) -> Read<f64> {
        let Some(given) = &self.threshold else {
            return Err(At(
                0..0,
                "`threshold` is missing: a number, or a text such as \"1 MB\"".into(),
            ));
        };
        let text = match given.get_ref() {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => String::new(),
        };
        let quantity = quantity::read(&text, unit).map_err(|what| At(given.span(), what))?;
        if unit != Unit::Any && quantity < 0.0 {
            return Err(At(given.span(), "`threshold` here cannot be negative".to_owned()));
        }
        Ok(quantity)
    }

    fn who(&self, kind: Kind) -> Read<Who> {
        let lists = [
            (Kind::Host, "scope", self.scope.as_ref().map(Spanned::span)),
            (Kind::Network, "networks", self.networks.as_ref().map(Spanned::span)),
            (Kind::Interface, "interfaces", self.interfaces.as_ref().map(Spanned::span)),
            (Kind::Interface, "field", self.field.as_ref().map(Spanned::span)),
        ];
        for (of, name, span) in lists {
            if let Some(span) = span.filter(|_| of != kind) {
                let what = format!("`{name}` belongs to entity = \"{}\"", of.name());
                return Err(At(span, what));
            }
        }
        match kind {
            Kind::Host => {
                let scope = self.scope.as_ref().map(cidrs).transpose()?;
                Ok(Who::Hosts(scope.unwrap_or_default()))
            }
            Kind::Network => self.networks().map(Who::Networks),
            Kind::Interface => {
                let field = match &self.field {
                    None => INTERFACE.to_owned(),
                    given => named("field", given.as_ref())?,
                };
                let mut names = Vec::new();
                if let Some(given) = &self.interfaces {
                    for name in given.get_ref() {
                        let is_new = !names.contains(name) && !name.trim().is_empty();
                        if !is_new || name.contains("{{") {
                            let what = "`interfaces` must be a list of different names";
                            return Err(At(given.span(), what.to_owned()));
                        }
                        names.push(name.clone());
                    }
                }
                if field.contains("{{") {
                    return Err(super::at(self.field.as_ref(), template("field")));
                }
                Ok(Who::Interfaces { field, names })
            }
        }
    }

    fn networks(&self) -> Read<Vec<Network>> {
        const ALLOWED: &str = "`networks` must be a list such as [\"10.0.0.0/8\", { name = \"lab\", \
                               cidr = \"192.168.7.0/24\" }]";
        let Some(given) = &self.networks else {
            return Err(At(0..0, format!("`networks` is missing: {}", &ALLOWED[11..])));
        };
        let fault = |what: String| At(given.span(), what);
        let list = given.get_ref().as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| fault(ALLOWED.to_owned()))?;
        if list.len() > MOST_NETWORKS {
            return Err(fault(format!("`networks` has more than {MOST_NETWORKS} of them")));
        }
        let mut names = HashSet::new();
        let mut networks = Vec::new();
        for one in list {
            let (name, cidr) = match one {
                Value::String(_) => (None, Some(one)),
                Value::Table(table) if table.keys().all(|key| key == "name" || key == "cidr") => {
                    (table.get("name"), table.get("cidr"))
                }
                _ => (None, None),
            };
            let cidr = cidr.ok_or_else(|| fault(ALLOWED.to_owned()))?;
            let cidrs = cidrs(&Spanned::new(given.span(), cidr.clone()))?;
            let name = match name {
                None => cidrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                Some(name) => name.as_str().unwrap_or_default().trim().to_owned(),
            };
            if name.is_empty() || name.contains("{{") {
                return Err(fault("the name of a network is a text, without `{{`".to_owned()));
            }
            if !names.insert(name.clone()) {
                return Err(fault(format!("two networks are called {name:?}")));
            }
            networks.push(Network { name, cidrs });
        }
        Ok(networks)
    }
}

/// A network, or a list of them.
fn cidrs(given: &Spanned<Value>) -> Read<Vec<Cidr>> {
    let list = match given.get_ref() {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let read = list.iter().map(|one| one.as_str().unwrap_or_default().trim().parse::<Cidr>());
    let read: Vec<Cidr> = read.collect::<Result<_, _>>().map_err(|what| At(given.span(), what))?;
    if read.is_empty() {
        return Err(At(given.span(), "a list of networks is empty".to_owned()));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::super::{Defaults, read};
    use crate::condition::Condition;

    fn of(lines: &str) -> Result<Condition, String> {
        let defaults = Defaults { index_pattern: "arkime_sessions3-*", time_field: "firstPacket" };
        let text = format!("title = \"t\"\ntype = \"threshold_cross\"\n{lines}");
        read(&text, "the_file", defaults).map_err(|fault| fault.to_string())
    }

    const HOST: &str = "entity = \"host\"\nmetric = \"bytes\"\nevery = \"min\"\nthreshold = 9\n";

    #[test]
    fn a_threshold_is_explained_in_a_sentence() {
        for (lines, want) in [
            (
                HOST,
                "fires on Minute traffic of a host > 9 Bytes, of arkime_sessions3-*; looks at each full minute, 1 minute after it is over",
            ),
            (
                "entity = \"host\"\nscope = \"10.0.0.0/8\"\nmetric = \"active\"\nevery = \"day\"\noperator = \"lt\"\nthreshold = \"10 min\"\ntimezone = \"Europe/Berlin\"\ndelay = 0\nquery = \"network.protocol:youtube\"",
                "fires on Daily activity time of a host in 10.0.0.0/8 < 10 min, of network.protocol:youtube of arkime_sessions3-*; looks at each full day (Europe/Berlin), as soon as it is over",
            ),
            (
                "entity = \"network\"\nnetworks = [\"10.0.0.0/8\", \"::/0\", {name = \"lab\", cidr = \"10.1.1.1\"}, \"11.0.0.0/8\"]\nmetric = \"egress\"\nevery = \"hour\"\noperator = \">\"\nthreshold = \"2.5 GB\"\ndelay = 5",
                "fires on Hourly egress traffic of network 10.0.0.0/8 to 11.0.0.0/8 (4 of them) > 2.5 GB, of arkime_sessions3-*; looks at each full hour, 5 minutes after it is over",
            ),
            (
                "entity = \"interface\"\ninterfaces = [\"a\", \"b\"]\nmetric = \"max(network.packets)\"\nevery = \"5mins\"\nthreshold = \"5k\"\ngrace = 5\nenabled = false",
                "fires on Five minutes max(network.packets) of interface a, b > 5000, of arkime_sessions3-*; looks at each full 5 minutes, 1 minute after it is over; after an alert 5 minutes of grace; switched off",
            ),
        ] {
            assert_eq!(of(lines).unwrap().explained(), want);
        }
        let condition = of(HOST).unwrap();
        assert_eq!(condition.stream.time_field, "lastPacket", "a session counts when it is over");
        let other = of(&format!("{HOST}stream.time_field = \"event.end\"")).unwrap();
        assert_eq!(other.stream.time_field, "event.end");
    }

    #[test]
    fn a_bad_file_says_in_which_line_and_what_is_allowed() {
        let network = "entity = \"network\"\nmetric = \"inner\"\nevery = \"hour\"\nthreshold = 1\n";
        let interface = HOST.replace("host", "interface");
        for (lines, want) in [
            ("", "`entity` is missing: one of host, network, interface"),
            ("entity = \"vlan\"", "line 3: there is no entity \"vlan\"; there are host, network"),
            ("entity = \"host\"", "`metric` is missing: one of bytes, packets, flows"),
            (
                &HOST.replace("bytes", "youtube"),
                "line 4: there is no metric \"youtube\"; there are bytes",
            ),
            (&HOST.replace("bytes", "max("), "line 4: `metric`: max() needs a field"),
            (&HOST.replace("bytes", "max(a) > 1"), "where nothing but a statistic of a field may"),
            (&HOST.replace("bytes", "stddev(a)"), "line 4: `metric` takes sum, mean, min, max"),
            (&HOST.replace("bytes", "count()"), "line 4: `metric` takes sum, mean, min, max"),
            (&HOST.replace("bytes", "sum(a{{b)"), "line 4: `metric` holds `{{`"),
            (&HOST.replace("bytes", "inner"), "line 4: `inner` is a metric of networks"),
            (&interface.replace("bytes", "bytes_sent"), "line 4: an interface has no sides"),
            (
                &HOST.replace("\"min\"", "5"),
                "line 5: `every` of a threshold_cross is one of minute",
            ),
            (&HOST.replace("min", "week"), "line 5: `every` of a threshold_cross is one of minute"),
            (&HOST.replace("every", "timezone"), "`every` is missing: one of minute, 5mins"),
            (&HOST.replace('9', "\"9 km\""), "line 6: `threshold` here is a number of bytes"),
            (&HOST.replace('9', "-9"), "line 6: `threshold` here cannot be negative"),
            (&HOST.replace('9', "[9]"), "line 6: `threshold` here is a number of bytes"),
            (&HOST.replace("threshold", "delay"), "`threshold` is missing: a number, or a text"),
            (network, "`networks` is missing: must be a list such as"),
        ] {
            let fault = of(lines).unwrap_err();
            assert!(fault.starts_with("line ") && fault.contains(want), "{lines}\n{fault}");
        }
        for (before, line, want) in [
            (HOST, "operator = \"ge\"", "there is no operator \"ge\"; there are gt (more) and lt"),
            (HOST, "time = 5", "a threshold_cross has no `time`: `every` says it"),
            (HOST, "cron = \"* * * * *\"", "a threshold_cross has no `cron`"),
            (HOST, "backlog = 1", "with a threshold_cross there is no `backlog`"),
            (HOST, "delay = 60", "`delay` must be a whole number from 0 to 59, in minutes"),
            (HOST, "timezone = \"Atlantis\"", "a zone such as UTC or Europe/Berlin"),
            (HOST, "scope = [\"10.0.0.5/8\"]", "did you mean 10.0.0.0/8?"),
            (HOST, "scope = []", "a list of networks is empty"),
            (HOST, "scope = [7]", "is no network such as 10.0.0.0/8"),
            (HOST, "networks = [\"::/0\"]", "`networks` belongs to entity = \"network\""),
            (HOST, "field = \"node\"", "`field` belongs to entity = \"interface\""),
            (HOST, "threshold_type = \"more\"", "a threshold_cross has no `threshold_type`"),
            (HOST, "query = \"a\"\nstream.query = \"b\"", "either `query` here or in `[stream]`"),
            (HOST, "query = \"{{a}}\"", r"write \{\{ for it"),
            (network, "networks = []", "`networks` must be a list such as"),
            (network, "networks = \"10.0.0.0/8\"", "`networks` must be a list such as"),
            (network, "networks = [{name = \"a\"}]", "`networks` must be a list such as"),
            (network, "networks = [{cidr = \"::/0\", mask = 1}]", "`networks` must be a list"),
            (network, "networks = [\"::/0\", \"::/0\"]", "two networks are called \"::/0\""),
            (network, "networks = [{name = \"{{a}}\", cidr = \"::/0\"}]", "without `{{`"),
            (&interface, "interfaces = [\"a\", \"a\"]", "`interfaces` must be a list of different"),
            (&interface, "field = \"{{a}}\"", "`field` holds `{{`"),
        ] {
            let fault = of(&format!("{before}{line}")).unwrap_err();
            let at = format!("line {}: ", before.lines().count() + 3);
            assert!(fault.starts_with(&at) && fault.contains(want), "{line}: {fault}");
        }
        let count =
            "title = \"t\"\ntype = \"message_count\"\nthreshold = 1\ntime = 1\nentity = \"host\"";
        let defaults = Defaults { index_pattern: "p-*", time_field: "t" };
        let fault = read(count, "s", defaults).unwrap_err().to_string();
        assert!(fault.starts_with("line 5: a message_count has no `entity`"), "{fault}");
    }
}

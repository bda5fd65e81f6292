//! Says what is wrong with monitors before they fire: each message is rendered on the store, in a
//! dry run of the monitor and in [`hostile`] cases that a dry run cannot bring about, and is read
//! by our own decoder. Nothing is kept or sent.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    Error, Settings,
    desired::{CHANNEL_ID, OLD_CHANNEL_ID},
};
use crate::{
    finding::{self, Finding},
    opensearch::{Client, alerting},
    record::{self, Naming, Receipt, fields::FieldSet},
};

mod endless;
pub mod files;
pub mod hostile;
pub mod judge;
mod linter;
mod outcome;

pub use files::Subject;
use linter::Linter;

/// What a look at monitors shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// One or more for each monitor.
    pub findings: Vec<Finding>,
    /// What becomes of the messages that are sent to us.
    pub records: Vec<Sample>,
}

/// A message and the record that it would become.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// The file, or the monitor's name.
    pub subject: String,
    /// What fired.
    pub when: String,
    /// The message as the store renders it.
    pub message: String,
    /// `_index` of the record.
    pub index: String,
    /// `_id` of the record.
    pub id: String,
    /// The record.
    pub record: Value,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        finding::write(f, &self.findings)?;
        self.records.iter().try_for_each(|sample| write!(f, "\n{sample}"))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, when, message, index, id, record } = self;
        writeln!(f, "{subject}, {when}: the message\n{}", finding::printable_lines(message))?;
        writeln!(f, "becomes the record {index}/{id}\n{record:#}")
    }
}

/// The record that a message would become if it was received now.
///
/// # Errors
/// In the words of the dead letter that it would become instead.
pub fn sample(
    subject: &str,
    when: &str,
    message: &str,
    received: Timestamp,
    naming: &Naming,
    known: &FieldSet,
) -> Result<Sample, String> {
    let alert = judge::decode(message)?;
    let hash = record::body_hash(message.as_bytes(), 0);
    let record = record::build(&alert, Receipt { received, hash: &hash }, naming, known);
    Ok(Sample {
        subject: subject.to_owned(),
        when: when.to_owned(),
        message: message.to_owned(),
        index: record.index,
        id: record.id,
        record: serde_json::from_str(&record.document).unwrap_or_default(),
    })
}

/// The monitors in the store that send to us, composite ones too.
///
/// # Errors
/// [`Error::Store`].
pub async fn live(client: &Client) -> Result<Vec<Subject>, Error> {
    let mut all =
        alerting::monitors(client).await.map_err(Error::store("cannot list the monitors"))?;
    let workflows = alerting::all(client, alerting::Family::Workflow).await;
    all.extend(workflows.map_err(Error::store("cannot list the composite monitors"))?);
    let ours = all
        .into_iter()
        .filter(|one| one.channels().iter().any(|id| [CHANNEL_ID, OLD_CHANNEL_ID].contains(id)));
    Ok(ours.map(|one| Subject { name: one.name().to_owned(), monitor: Ok(one.body) }).collect())
}

/// Looks at all these monitors, one after the other.
///
/// # Errors
/// [`Error`]: a provisioning file cannot be used, or the store does not answer.
pub async fn run(
    client: &Client,
    settings: &Settings,
    naming: &Naming,
    received: Timestamp,
    subjects: &[Subject],
) -> Result<Report, Error> {
    let desired = super::desired(settings)?;
    if let Err(fault) = alerting::monitors(client).await
        && fault.is_unavailable()
    {
        let mend = "install the plugin opensearch-alerting, or name an OpenSearch that has it";
        let what =
            format!("{}: it has no Alerting, so nothing can be tried there", client.address());
        return Ok(Report { findings: vec![Finding::fail("store", what, mend)], records: vec![] });
    }
    let mut linter = Linter::new(client, &desired, naming, received).await?;
    for subject in subjects {
        linter.look(subject).await;
    }
    Ok(linter.finish())
}

//! (being written)
#![expect(missing_docs, reason = "being written")]
use jiff::Timestamp;
#[derive(Clone, Debug)]
pub struct IndexName(String);
impl IndexName {
    pub fn new(pattern: &str, _suffix: &str, _alias: Option<&str>) -> Result<Self, String> {
        Ok(Self(pattern.trim_end_matches('*').to_owned()))
    }
    pub fn index(&self, start: Timestamp, _field: impl Fn(&str) -> Option<String>) -> String {
        format!("{}{}", self.0, day(start))
    }
}
pub fn day(start: Timestamp) -> String {
    start.strftime("%y%m%d").to_string()
}

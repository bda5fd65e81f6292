//! What a form of ours says, once it has shown that it is ours.

use axum::extract::{Form, rejection::FormRejection};

use crate::http::{ApiError, State, caller::Caller, forgery};

/// The most that a form may have, in bytes.
pub const LIMIT: usize = 64 << 10;

/// As it is extracted: fields may come several times.
pub type Raw = Result<Form<Vec<(String, String)>>, FormRejection>;

/// The fields of a form of ours.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a form, and checks that it was made for this caller.
    ///
    /// # Errors
    /// 400 where it is none, or none of ours.
    pub fn of(state: &State, caller: &Caller, raw: Raw) -> Result<Self, ApiError> {
        let Form(fields) = raw.map_err(|fault| ApiError::BadRequest(fault.body_text()))?;
        let fields = Self(fields);
        let is_ours = |token| state.forgery.fits(caller, token);
        if fields.get(forgery::FIELD).is_some_and(is_ours) {
            return Ok(fields);
        }
        let how = "this form is too old, or was not made by this page: load the page again, and try once more";
        Err(ApiError::BadRequest(how.to_owned()))
    }

    /// The first value of a field; an empty one is as good as none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The numbers in a field.
    ///
    /// # Errors
    /// 400 for one that is none.
    pub fn numbers(&self, name: &str) -> Result<Vec<i64>, ApiError> {
        let whole = |_| ApiError::BadRequest("an id is a whole number".to_owned());
        self.all(name).map(|text| text.parse().map_err(whole)).collect()
    }
}

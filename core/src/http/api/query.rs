//! The query string of a call.

use alloc::{string::String, vec::Vec};

use crate::http::Problem;

/// A query string; of a repeated name the first counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// An offset of a history.
    pub(super) fn offset(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let fault = |_| Problem::bad_request(alloc::format!("{name} must be an offset"));
        let offset = self.get(name).map(str::parse);
        offset.transpose().map_err(fault)
    }

    /// How many to list; default 100.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.get("limit") {
            None => Ok(100),
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| (1..=1000).contains(limit))
                .ok_or_else(|| Problem::bad_request("limit must be 1 to 1000")),
        }
    }
}

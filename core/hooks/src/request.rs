//! Requests of webhooks.

use alloc::{format, string::String, string::ToString, sync::Arc};

use crate::key::Keys;

/// A request to send by POST. A repetition has the same identifier and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    id: Arc<str>,
    body: Arc<str>,
}

impl Request {
    pub(crate) fn new(epoch: &str, seq: u64, body: String) -> Self {
        Self {
            id: format!("{epoch}-{seq}").into(),
            body: body.into(),
        }
    }

    /// The headers: identifier, signatures and time by Standard Webhooks, and the type of the body.
    /// `unix_s` is the time of sending, in seconds since 1970.
    pub fn headers(&self, keys: &Keys, unix_s: u64) -> [(&'static str, String); 4] {
        let unix_s = unix_s.to_string();
        let signature = keys.sign(&self.id, &unix_s, self.body.as_bytes());
        [
            ("webhook-id", self.id.to_string()),
            ("webhook-signature", signature),
            ("webhook-timestamp", unix_s),
            ("content-type", "application/json".into()),
        ]
    }

    /// The body, in JSON.
    pub fn body(&self) -> &str {
        &self.body
    }
}

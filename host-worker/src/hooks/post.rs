//! Requests to backends.

use std::time::Duration;

use roomcast_core::Timestamp;
use roomcast_hooks::{HookUrl, Keys, Request};

/// A request that is to be sent to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) kind: PostKind,
    pub(crate) url: String,
    /// Names and values, one behind the other.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// The purpose of a request, and the number by which its outcome is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostKind {
    /// Events: only the status of the answer counts.
    Tell(u32),
    /// A question: the answer is read, within this time.
    Ask(u64, Duration),
}

impl Post {
    pub(crate) fn new(
        kind: PostKind,
        url: &HookUrl,
        request: &Request,
        keys: &Keys,
        now: Timestamp,
    ) -> Self {
        let headers = request.headers(keys, now.as_millis() / 1000).into_iter();
        let headers = headers.flat_map(|(name, value)| [name.to_owned(), value]);
        Self {
            kind,
            url: url.as_str().to_owned(),
            headers: headers.collect(),
            body: request.body().to_owned(),
        }
    }
}

//! Requests to backends.

/// A request that is to be sent to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    /// Its number, by which its outcome is told.
    pub(crate) number: u32,
    pub(crate) url: String,
    /// Names and values, one behind the other.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

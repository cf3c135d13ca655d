//! Failures of calls to other servers.

use std::error::Error;

/// A call to another server that failed; its text is for the log.
pub(crate) type CallFailure = Box<dyn Error + Send + Sync>;

//! Failures of calls to other servers.

use std::error::Error;

use http_body_util::LengthLimitError;

/// The failure of a call to another server; its text is for the log.
pub(crate) type CallFailure = Box<dyn Error + Send + Sync>;

/// True when the other server was reached, but its answer ended early, was not HTTP, or was too
/// long.
pub(super) fn is_broken_answer(failure: &CallFailure) -> bool {
    failure.is::<hyper::Error>() || failure.is::<LengthLimitError>()
}

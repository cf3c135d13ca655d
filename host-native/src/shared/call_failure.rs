//! Failures of calls to other servers.

use std::error::Error;

use http_body_util::LengthLimitError;

/// A call to another server that failed; its text is for the log.
pub(crate) type CallFailure = Box<dyn Error + Send + Sync>;

/// True when the other server was reached, and its answer ended early, was no HTTP or too long.
pub(super) fn is_broken_answer(failure: &CallFailure) -> bool {
    failure.is::<hyper::Error>() || failure.is::<LengthLimitError>()
}

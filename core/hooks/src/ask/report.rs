//! Consequences of outcomes, for logs.

use alloc::{borrow::ToOwned, format, string::String};
use core::time::Duration;

/// The consequence of an outcome, for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskReport {
    /// The backend answered.
    Answered {
        /// True when it had failed, and is asked again from here on.
        recovered: bool,
    },
    /// The backend gave no answer that can be used.
    Failed {
        /// The fault of the answer; `None` when none came.
        fault: Option<String>,
        /// Failures in a row.
        failures: u32,
        /// The time for which it is left alone from here on.
        pause: Option<Duration>,
    },
    /// There was no such request under way.
    Nothing,
}

impl AskReport {
    /// The text for an operator; of failures in a row the first has one, then ever fewer have.
    /// `failure` says why no answer came.
    pub fn notice(&self, failure: Option<&str>) -> Option<String> {
        match self {
            Self::Failed {
                fault,
                failures,
                pause,
            } => {
                let fault = fault.as_deref().or(failure).unwrap_or("no answer");
                match pause {
                    Some(pause) => Some(format!(
                        "{fault}; the backend is asked again in {pause:?}, and nobody comes in by \
                         it before"
                    )),
                    None => failures.is_power_of_two().then(|| fault.to_owned()),
                }
            }
            Self::Answered { recovered: true } => Some("the backend answers again".to_owned()),
            Self::Answered { recovered: false } | Self::Nothing => None,
        }
    }
}

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
    /// The backend was reached, and gave no usable answer to this question.
    Unusable {
        /// The fault of the answer; `None` when none came.
        fault: Option<String>,
        /// The number of such answers in a minute, this one included.
        count: u32,
        /// True when it had failed, and is asked again from here on.
        recovered: bool,
        /// The time for which it is not asked from here on: other probes failed.
        pause: Option<Duration>,
    },
    /// The backend cannot be reached, or is too slow.
    Failed {
        /// The fault of the answer; `None` when none came.
        fault: Option<String>,
        /// Failures in a row.
        failures: u32,
        /// The time for which it is not asked from here on.
        pause: Option<Duration>,
    },
    /// There was no such request in flight.
    Nothing,
}

impl AskReport {
    /// The text for an operator, if any. Of failures in a row, and of unusable answers in a minute,
    /// the first has a text, and then ever fewer. `failure` says why no answer came.
    pub fn notice(&self, failure: Option<&str>) -> Option<String> {
        let (fault, count, pause) = match self {
            Self::Unusable {
                recovered: true, ..
            }
            | Self::Answered { recovered: true } => {
                return Some("the backend answers again".to_owned());
            }
            Self::Unusable {
                fault,
                count,
                pause,
                ..
            } => (fault, count, pause),
            Self::Failed {
                fault,
                failures,
                pause,
            } => (fault, failures, pause),
            Self::Answered { recovered: false } | Self::Nothing => return None,
        };
        let fault = fault.as_deref().or(failure).unwrap_or("no answer");
        match pause {
            Some(pause) => Some(format!(
                "{fault}; the backend is asked again in {pause:?}, and nobody comes in by it before"
            )),
            None => count.is_power_of_two().then(|| fault.to_owned()),
        }
    }
}

//! Published keys that are kept up to date.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use roomcast_core::Timestamp;

use crate::{
    key_set::{KeySet, KeySetError},
    limits::{JWKS_FETCH_TIMEOUT, JWKS_UNKNOWN_AGE, JWKS_UNKNOWN_MAX},
    pace::FetchPace,
};

/// Published keys, and when to fetch them. Like all of this crate it does no I/O:
///
/// 1. A host calls [`poll`](Self::poll) at the start, at the time that the last poll named, and
///    after each [`missing`](Self::missing) that answered [`Missing::Wait`]. At [`Poll::Fetch`] it
///    sends a `GET` to the [`JwksUrl`](crate::JwksUrl): without following redirects, for at most
///    [`JWKS_FETCH_TIMEOUT`] and [`JWKS_BYTES_MAX`](crate::limits::JWKS_BYTES_MAX).
/// 2. It passes the answer to [`received`](Self::received), or reports that there was none with
///    [`failed`](Self::failed). After either it polls again, and verifies the tokens that wait.
/// 3. It verifies with [`keys`](Self::keys). If a token has an unknown key id, it asks
///    [`missing`](Self::missing).
///
/// Tokens of known keys never wait. However many unknown ids come, fetches start at least
/// [`FetchPace::interval`] apart, and one runs at a time. After a failure the keys stay.
#[derive(Debug, Clone)]
pub struct Jwks {
    pace: FetchPace,
    keys: KeySet,
    loaded: bool,
    /// The latest end of the running fetch, if any.
    runs_until: Option<Timestamp>,
    /// The earliest time at which the next fetch may start.
    not_before: Timestamp,
    /// The latest time at which the keys are fetched again.
    due: Timestamp,
    /// Ids that the running or the next fetch is for.
    wanted: Vec<Box<str>>,
    unknown: Unknown,
}

/// The next thing to do for published keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Fetch the keys at once.
    Fetch,
    /// Poll again at this time, unless something happens before.
    WaitUntil(Timestamp),
}

/// The next step for a token whose key id is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The token waits for the end of the fetch that runs, or that [`Jwks::poll`] asks for. Then it
    /// is verified again, and refused if its key is still missing.
    Wait,
    /// The token is refused: no key has this id.
    Unknown,
    /// The token is refused for now: no keys could be fetched yet.
    Unavailable,
}

/// The error of a fetch that brought no keys. The previous keys stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The answer is a redirect, which is not followed.
    #[error(
        "the answer is a redirect ({status}), which is not followed: set the URL that it leads to"
    )]
    Redirect {
        /// The HTTP status.
        status: u16,
    },
    /// The answer has another status than 200.
    #[error("the answer has the status {status}, not 200")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not a set of keys.
    #[error(transparent)]
    Keys(KeySetError),
}

impl Jwks {
    /// A state without keys. The first [`poll`](Self::poll) asks for a fetch.
    pub fn new(pace: FetchPace) -> Self {
        Self {
            pace,
            keys: KeySet::default(),
            loaded: false,
            runs_until: None,
            not_before: Timestamp::ZERO,
            due: Timestamp::ZERO,
            wanted: Vec::new(),
            unknown: Unknown::default(),
        }
    }

    /// Restores the keys from the body and the age of an earlier answer that a host stored. They
    /// are fetched again at the age of [`FetchPace::refresh`].
    ///
    /// # Errors
    ///
    /// When the body is not a set of keys.
    pub fn restore(
        pace: FetchPace,
        now: Timestamp,
        body: &[u8],
        age: Duration,
    ) -> Result<Self, KeySetError> {
        Ok(Self {
            keys: KeySet::read(body)?,
            loaded: true,
            not_before: now + pace.interval.saturating_sub(age),
            due: now + pace.refresh.saturating_sub(age),
            ..Self::new(pace)
        })
    }

    /// Sets another pace, which applies from the next fetch on.
    pub const fn set_pace(&mut self, pace: FetchPace) {
        self.pace = pace;
    }

    /// The pace of its fetches.
    pub const fn pace(&self) -> FetchPace {
        self.pace
    }

    /// The keys, for [`Verifier::verify`](crate::Verifier::verify).
    pub const fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Says what to do next. A fetch whose end was not reported within its time counts as failed.
    pub fn poll(&mut self, now: Timestamp) -> Poll {
        if let Some(end) = self.runs_until {
            if now < end {
                return Poll::WaitUntil(end);
            }
            self.failed(now);
        }
        let wanted = if self.wanted.is_empty() {
            self.due
        } else {
            now
        };
        let begin = wanted.max(self.not_before);
        if now < begin {
            return Poll::WaitUntil(begin);
        }
        self.runs_until = Some(now + JWKS_FETCH_TIMEOUT);
        self.not_before = now + self.pace.interval;
        Poll::Fetch
    }

    /// True while a fetch runs: its end was not reported yet.
    pub const fn is_fetching(&self) -> bool {
        self.runs_until.is_some()
    }

    /// True when the keys are old, or were never fetched, and no fetch runs. A host without timers
    /// checks this now and then, and then calls [`poll`](Self::poll).
    pub fn is_due(&self, now: Timestamp) -> bool {
        !self.is_fetching() && now >= self.due.max(self.not_before)
    }

    /// Handles the answer to a fetch. With 200 and a set of keys, these replace the previous keys,
    /// and the host may store the body for [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// When the answer brings no keys, for the log. The keys stay, and the next fetch is
    /// [`FetchPace::interval`] after the beginning of this one.
    pub fn received(
        &mut self,
        now: Timestamp,
        status: u16,
        body: &[u8],
    ) -> Result<&KeySet, FetchError> {
        let read = match status {
            200 => KeySet::read(body).map_err(FetchError::Keys),
            300..400 => Err(FetchError::Redirect { status }),
            _ => Err(FetchError::Status { status }),
        };
        match read {
            Ok(keys) => {
                self.keys = keys;
                self.loaded = true;
                self.runs_until = None;
                self.due = now + self.pace.refresh;
                for kid in self.wanted.drain(..) {
                    if !self.keys.has(&kid) {
                        self.unknown.insert(now, kid);
                    }
                }
                Ok(&self.keys)
            }
            Err(error) => {
                self.failed(now);
                Err(error)
            }
        }
    }

    /// Handles a fetch without an answer. The keys stay.
    pub fn failed(&mut self, now: Timestamp) {
        self.runs_until = None;
        self.wanted.clear();
        self.due = now.max(self.not_before);
    }

    /// The next step for a token whose key id is unknown, after
    /// [`TokenError::UnknownKey`](crate::TokenError::UnknownKey). Work: at most 256 remembered ids,
    /// and the keys.
    pub fn missing(&mut self, now: Timestamp, kid: &str) -> Missing {
        if self.keys.has(kid) || self.unknown.has(now, kid) {
            return Missing::Unknown;
        }
        if self.runs_until.is_none() && now < self.not_before {
            return if self.loaded {
                Missing::Unknown
            } else {
                Missing::Unavailable
            };
        }
        let is_wanted = self.wanted.iter().any(|wanted| **wanted == *kid);
        if !is_wanted && self.wanted.len() < JWKS_UNKNOWN_MAX {
            self.wanted.push(kid.into());
        }
        Missing::Wait
    }
}

impl Default for Jwks {
    fn default() -> Self {
        Self::new(FetchPace::DEFAULT)
    }
}

/// Ids that a fetch did not bring. They are stored apart from the keys, so that no number of ids
/// evicts a key.
#[derive(Debug, Clone, Default)]
struct Unknown {
    /// The oldest first, with the time until which each is remembered.
    ids: Vec<(Box<str>, Timestamp)>,
}

impl Unknown {
    fn has(&self, now: Timestamp, kid: &str) -> bool {
        let mut ids = self.ids.iter();
        ids.any(|(known, until)| **known == *kid && now < *until)
    }

    fn insert(&mut self, now: Timestamp, kid: Box<str>) {
        self.ids
            .retain(|(known, until)| *known != kid && now < *until);
        if self.ids.len() >= JWKS_UNKNOWN_MAX {
            self.ids.remove(0);
        }
        self.ids.push((kid, now + JWKS_UNKNOWN_AGE));
    }
}

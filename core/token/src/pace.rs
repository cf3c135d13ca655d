//! The pace at which published keys are fetched.

use core::time::Duration;

use crate::limits::{JWKS_FETCH_INTERVAL, JWKS_REFRESH};

/// The pace at which published keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPace {
    /// The shortest time between the starts of two fetches, whatever clients do; default 30 s, so
    /// that nobody can cause more than two requests a minute to an issuer.
    pub interval: Duration,
    /// The age at which keys are fetched again, and so the time for which a removed key is still
    /// accepted; default an hour.
    pub refresh: Duration,
}

impl FetchPace {
    /// The default.
    pub const DEFAULT: Self = Self {
        interval: JWKS_FETCH_INTERVAL,
        refresh: JWKS_REFRESH,
    };
}

impl Default for FetchPace {
    fn default() -> Self {
        Self::DEFAULT
    }
}

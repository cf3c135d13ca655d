//! The settings of one endpoint.

use alloc::vec::Vec;

use roomcast_core::policy::{EventKind, Pattern, Subscription};

use crate::{hook_url::HookUrl, key::KeySource, limits::KEYS_MAX};

/// An endpoint: its URL, its keys, and the events that it receives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hook {
    /// The URL that events are sent to.
    pub url: HookUrl,
    /// The events, and the rooms that they are about. Events of connections have no room.
    pub subscription: Subscription,
    /// The keys that sign.
    pub keys: Vec<KeySource>,
}

/// The error of invalid settings of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// No event is named, so nothing would be sent.
    #[error("`events` names one event at least")]
    NoEvents,
    /// The number of keys does not fit.
    #[error("`keys` has 1 to {KEYS_MAX} keys")]
    Keys,
}

impl Hook {
    /// An endpoint.
    ///
    /// # Errors
    ///
    /// When no event is named, or none or too many keys.
    pub fn new(
        url: HookUrl,
        events: impl IntoIterator<Item = EventKind>,
        rooms: Pattern,
        keys: Vec<KeySource>,
    ) -> Result<Self, HookError> {
        let subscription = Subscription::new(events, rooms);
        if subscription.is_empty() {
            return Err(HookError::NoEvents);
        }
        if !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(HookError::Keys);
        }
        Ok(Self {
            url,
            subscription,
            keys,
        })
    }
}

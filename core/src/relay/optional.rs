//! The relay of a hub that may have none.

#[cfg(feature = "cluster")]
use alloc::boxed::Box;

use super::Relay;

/// The relay of a hub; none when the hub is its own sequencer.
///
/// Without the feature `cluster` there never is one. The compiler then sees it, and leaves out all
/// that a relay would need.
#[derive(Debug, Clone)]
pub(crate) struct OptionalRelay {
    #[cfg(feature = "cluster")]
    relay: Option<Box<Relay>>,
}

#[cfg(feature = "cluster")]
impl OptionalRelay {
    pub(crate) fn new(relay: Option<Relay>) -> Self {
        let relay = relay.map(Box::new);
        Self { relay }
    }

    #[inline]
    pub(crate) const fn is_some(&self) -> bool {
        self.relay.is_some()
    }

    #[inline]
    pub(crate) fn as_ref(&self) -> Option<&Relay> {
        self.relay.as_deref()
    }

    #[inline]
    pub(crate) fn as_mut(&mut self) -> Option<&mut Relay> {
        self.relay.as_deref_mut()
    }
}

#[cfg(not(feature = "cluster"))]
#[allow(clippy::unused_self)] // as with the feature
impl OptionalRelay {
    pub(crate) fn new(_: Option<Relay>) -> Self {
        Self {}
    }

    #[inline(always)]
    pub(crate) const fn is_some(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) const fn as_ref(&self) -> Option<&Relay> {
        None
    }

    #[inline(always)]
    pub(crate) const fn as_mut(&mut self) -> Option<&mut Relay> {
        None
    }
}

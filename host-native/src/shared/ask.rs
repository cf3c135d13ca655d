//! A backend that is asked who a connection is, and what it may join.

mod asker;

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};

use roomcast_hooks::AskSettings;

pub(crate) use self::asker::{Asker, AskerCounts};
use crate::clock::Clock;

/// The backend in force, if any.
#[derive(Debug, Default)]
pub(crate) struct AskGate(RwLock<Option<Arc<Asker>>>);

/// A backend that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// A key cannot be read.
    #[error("{0}")]
    Key(String),
    /// The thread that asks cannot start.
    #[error("the thread that asks cannot start: {0}")]
    Thread(#[from] io::Error),
}

impl AskGate {
    /// A gate with this backend.
    ///
    /// # Errors
    ///
    /// When a key cannot be read, or a thread cannot start.
    pub(crate) fn open(settings: Option<&AskSettings>, clock: Clock) -> Result<Self, AskError> {
        let gate = Self::default();
        let asker = gate.prepare(settings, clock)?;
        gate.set(asker);
        Ok(gate)
    }

    /// The backend with these settings; that in force when they are the same.
    ///
    /// # Errors
    ///
    /// When a key cannot be read, or a thread cannot start.
    pub(crate) fn prepare(
        &self,
        settings: Option<&AskSettings>,
        clock: Clock,
    ) -> Result<Option<Arc<Asker>>, AskError> {
        let Some(settings) = settings else {
            return Ok(None);
        };
        let asker = Asker::open(settings, clock).map_err(AskError::Key)?;
        let in_force = self.asker();
        if in_force.as_ref().is_some_and(|it| it.is_same(&asker)) {
            return Ok(in_force);
        }
        let asker = Arc::new(asker);
        asker.start()?;
        Ok(Some(asker))
    }

    /// Puts a backend in force. The one before answers what was asked, and ends.
    pub(crate) fn set(&self, asker: Option<Arc<Asker>>) {
        let mut in_force = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *in_force, asker);
        if let Some(before) = before
            && in_force.as_ref().is_none_or(|it| !Arc::ptr_eq(it, &before))
        {
            before.retire();
        }
    }

    /// The backend in force.
    pub(crate) fn asker(&self) -> Option<Arc<Asker>> {
        let in_force = self.0.read().unwrap_or_else(PoisonError::into_inner);
        in_force.clone()
    }

    /// True when a backend is asked for joins.
    pub(crate) fn asks_join(&self) -> bool {
        self.asker().is_some_and(|asker| asker.settings().on.join)
    }
}

impl Drop for AskGate {
    /// Ends the thread that asks: it would outlive a server inside of another program.
    fn drop(&mut self) {
        self.set(None);
    }
}

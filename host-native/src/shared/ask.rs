//! The backend that identifies connections and decides what they may join.

mod asker;

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use roomcast_hooks::AskSettings;

pub(crate) use self::asker::{Asker, AskerCounts};
use crate::{clock::Clock, shared::spans::Spans};

/// The backend in force, if any.
#[derive(Debug, Default)]
pub(crate) struct AskGate {
    in_force: RwLock<Option<Arc<Asker>>>,
    before: Mutex<Before>,
}

/// The backends that were in force earlier.
#[derive(Debug, Default)]
struct Before {
    /// Backends that may still answer earlier questions.
    ending: Vec<Arc<Asker>>,
    /// The counts of all others.
    ended: AskerCounts,
}

/// The reason why a backend cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// A key cannot be read.
    #[error("{0}")]
    Key(String),
    /// The thread that asks cannot start.
    #[error("the thread that asks cannot start: {0}")]
    Thread(#[from] io::Error),
}

impl Before {
    /// Drops backends that neither their thread nor a caller uses any more.
    fn forget(&mut self) {
        for asker in self.ending.extract_if(.., |it| Arc::strong_count(it) == 1) {
            self.ended.add(&asker.counts());
        }
    }
}

impl AskGate {
    /// Creates a gate with a backend, and starts it.
    ///
    /// # Errors
    ///
    /// When a key cannot be read, or a thread cannot start.
    pub(crate) fn open(
        settings: Option<&AskSettings>,
        clock: Clock,
        spans: &Arc<Spans>,
    ) -> Result<Self, AskError> {
        let gate = Self::default();
        let asker = gate
            .prepare(settings, clock, spans)
            .map_err(AskError::Key)?;
        gate.start(asker.as_ref())?;
        gate.set(asker);
        Ok(gate)
    }

    /// Returns a backend with these settings, or the one in force if it is the same. Reads files.
    ///
    /// # Errors
    ///
    /// When a key cannot be read.
    pub(crate) fn prepare(
        &self,
        settings: Option<&AskSettings>,
        clock: Clock,
        spans: &Arc<Spans>,
    ) -> Result<Option<Arc<Asker>>, String> {
        let Some(settings) = settings else {
            return Ok(None);
        };
        let asker = Asker::open(settings, clock, spans.clone())?;
        let in_force = self.asker().filter(|it| it.is_same(&asker));
        Ok(in_force.or_else(|| Some(Arc::new(asker))))
    }

    /// Starts a prepared backend; it must then be [`set`](Self::set) or
    /// [`discarded`](Self::discard).
    ///
    /// # Errors
    ///
    /// When its thread cannot start.
    pub(crate) fn start(&self, asker: Option<&Arc<Asker>>) -> io::Result<()> {
        let new = asker.filter(|asker| !self.is_in_force(asker));
        new.map_or(Ok(()), Asker::start)
    }

    /// Puts a backend in force. The previous one answers its questions, and ends.
    pub(crate) fn set(&self, asker: Option<Arc<Asker>>) {
        let mut before = self.before();
        before.forget();
        if asker.as_ref().is_some_and(|asker| self.is_in_force(asker)) {
            return;
        }
        let old = {
            let in_force = self.in_force.write();
            mem::replace(
                &mut *in_force.unwrap_or_else(PoisonError::into_inner),
                asker,
            )
        };
        if let Some(old) = old {
            old.retire();
            before.ending.push(old);
        }
    }

    /// Stops a backend that was not put in force.
    pub(crate) fn discard(&self, asker: Option<Arc<Asker>>) {
        if let Some(asker) = asker.filter(|asker| !self.is_in_force(asker)) {
            asker.retire();
        }
    }

    /// The backend in force.
    pub(crate) fn asker(&self) -> Option<Arc<Asker>> {
        let in_force = self.in_force.read();
        in_force.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True when a backend is asked about joins.
    pub(crate) fn asks_join(&self) -> bool {
        self.asker().is_some_and(|asker| asker.settings().on.join)
    }

    /// URLs that change when this backend is set: an added one with `+`, a removed one with `-`,
    /// and one with other settings with `~`.
    pub(crate) fn changes(&self, asker: Option<&Arc<Asker>>) -> Vec<String> {
        let old = self.asker();
        match (&old, asker) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Vec::new(),
            (Some(old), Some(new)) if old.settings().url == new.settings().url => {
                vec![format!("~{}", new.name())]
            }
            (old, new) => {
                let new = new.map(|new| format!("+{}", new.name()));
                let old = old.as_ref().map(|old| format!("-{}", old.name()));
                new.into_iter().chain(old).collect()
            }
        }
    }

    /// The counts of all backends since the start.
    pub(crate) fn counts(&self) -> AskerCounts {
        let mut before = self.before();
        before.forget();
        let mut counts = before.ended;
        for asker in &before.ending {
            counts.add(&asker.counts());
        }
        if let Some(asker) = self.asker() {
            let in_force = asker.counts();
            counts.add(&in_force);
            counts.questions.is_open = in_force.questions.is_open;
        }
        counts
    }

    fn is_in_force(&self, asker: &Arc<Asker>) -> bool {
        self.asker().is_some_and(|it| Arc::ptr_eq(&it, asker))
    }

    fn before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AskGate {
    /// Ends the thread, which would otherwise outlive an embedded server.
    fn drop(&mut self) {
        self.set(None);
    }
}

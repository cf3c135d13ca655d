//! Backends in a reload: hooks, and the asked backend.

use std::{io, sync::Arc, thread, time::Duration};

use roomcast_hooks::{AskSettings, Hook};
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};

use crate::shared::{Shared, ask::Asker, hooks::Prepared};

/// The time limit for reading key files: files on a network may be out of reach.
const TIME: Duration = Duration::from_secs(5);

/// Prepared backends, ready to be applied.
pub(super) struct Backends {
    hooks: Prepared,
    asker: Option<Arc<Asker>>,
    changes: Changes,
}

/// URLs of backends that change, each with `+`, `-` or `~`.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    pub(super) hooks: Vec<String>,
    pub(super) ask: Vec<String>,
}

impl Backends {
    /// Prepares the backends, and starts the threads that they need; the backends in force stay
    /// unchanged. Key files are read on another thread, with a time limit: if that thread gets
    /// stuck, nobody waits for it.
    pub(super) async fn prepare(
        shared: &Arc<Shared>,
        hooks: Vec<Hook>,
        ask: Option<AskSettings>,
    ) -> Result<Self, String> {
        let there = shared.clone();
        let (done, prepared) = oneshot::channel();
        let prepare = move || {
            let _ = done.send(Self::read(&there, &hooks, ask.as_ref())); // the receiver has timed out
        };
        let thread = thread::Builder::new().name("roomcast-keys".into());
        let failed = |fault: io::Error| format!("a thread cannot start: {fault}");
        thread.spawn(prepare).map_err(failed)?;
        let prepared = timeout(TIME, prepared).await;
        let late = |_| "[[hooks]], [ask]: a file of `keys` cannot be read in time".to_owned();
        let prepared = prepared.map_err(late)?;
        let prepared = prepared.map_err(|_| "[[hooks]], [ask]: a panic".to_owned())??;
        if !prepared.hooks.is_empty() {
            shared.start_hooks().map_err(failed)?;
        }
        shared.ask.start(prepared.asker.as_ref()).map_err(failed)?;
        Ok(prepared)
    }

    fn read(shared: &Shared, hooks: &[Hook], ask: Option<&AskSettings>) -> Result<Self, String> {
        let hooks = shared.hooks.prepare(hooks);
        let hooks = hooks.map_err(|fault| format!("[[hooks]]: {fault}"))?;
        let asker = shared.ask.prepare(ask, shared.clock, &shared.spans);
        let asker = asker.map_err(|fault| format!("[ask]: {fault}"))?;
        let changes = Changes {
            hooks: hooks.changes().to_vec(),
            ask: shared.ask.changes(asker.as_ref()),
        };
        Ok(Self {
            hooks,
            asker,
            changes,
        })
    }

    /// Discards the prepared backends: the reload is refused.
    pub(super) fn discard(self, shared: &Shared) {
        shared.ask.discard(self.asker);
    }

    /// Applies the prepared backends, and returns the differences.
    pub(super) async fn set(self, shared: &Arc<Shared>) -> Changes {
        let (there, hooks) = (shared.clone(), self.hooks);
        shared.ask.set(self.asker);
        // Writing to the store blocks.
        let set = spawn_blocking(move || there.hooks.set(hooks));
        if let Ok(Err(fault)) = set.await {
            // The change is in force all the same, and the removed endpoint is forgotten at the
            // next start.
            tracing::error!(%fault, "the store keeps the line of a hook that is gone");
        }
        self.changes
    }
}

impl Changes {
    pub(super) const fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.ask.is_empty()
    }

    /// True when the asked backend is removed and not replaced.
    pub(super) fn end_asking(&self) -> bool {
        !self.ask.is_empty() && self.ask.iter().all(|change| change.starts_with('-'))
    }
}

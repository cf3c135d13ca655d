//! The thread that notifies backends.

use std::{
    io, mem,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{oneshot, watch},
};

/// The thread that sends events, started with the first endpoint.
#[derive(Debug, Default)]
pub(crate) struct HookThread(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Running {
        end: watch::Sender<bool>,
        ended: oneshot::Receiver<()>,
    },
    Finished,
}

impl HookThread {
    /// Starts this work, unless some has started. It ends when the receiver has true or its sender
    /// is gone.
    ///
    /// # Errors
    ///
    /// When the thread cannot start.
    pub(crate) fn start<F: Future<Output = ()>>(
        &self,
        work: impl FnOnce(watch::Receiver<bool>) -> F + Send + 'static,
    ) -> io::Result<()> {
        let mut stage = self.stage();
        if !matches!(*stage, Stage::Idle) {
            return Ok(());
        }
        let (end, ending) = watch::channel(false);
        let (done, ended) = oneshot::channel();
        thread::Builder::new()
            .name("roomcast-hooks".into())
            .spawn(move || {
                let mut runtime = Builder::new_current_thread();
                match runtime.enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(work(ending)),
                    Err(fault) => tracing::error!(%fault, "hooks cannot start: nothing is told"),
                }
                let _ = done.send(()); // nobody waits any more
            })?;
        *stage = Stage::Running { end, ended };
        Ok(())
    }

    /// Waits a few seconds at most until all events are sent. Called when no shard has more.
    pub(crate) async fn finish(&self) {
        let stage = mem::replace(&mut *self.stage(), Stage::Finished);
        if let Stage::Running { end, ended } = stage {
            end.send_replace(true);
            let _ = ended.await; // or it panicked
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

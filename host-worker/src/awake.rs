//! A namespace that is awake, as it is asked.

use roomcast_core::{Applied, Hub, Input, Outbox, Timestamp, ask::Asked};

use crate::mount::AnyApp;

/// Runs a request; the commands that follow from it are left in the outbox.
#[derive(Debug)]
pub(crate) struct Awake<'a> {
    pub(crate) now: Timestamp,
    pub(crate) app: &'a mut AnyApp,
    pub(crate) out: &'a mut Outbox,
}

impl Asked for Awake<'_> {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.app.hub())
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        self.app.apply(self.now, input, self.out)
    }
}

//! A namespace that is awake.

use roomcast_core::{Applied, Hub, Input, Outbox, Timestamp, ask::Asked, wire::Counted};

use crate::{
    mount::AnyApp,
    platform::{Platform, PlatformError},
};

/// A namespace that is awake. The commands that follow from its inputs are left in the outbox.
#[derive(Debug)]
pub(super) struct Awake<'a, P> {
    pub(super) now: Timestamp,
    pub(super) app: &'a mut AnyApp,
    pub(super) out: &'a mut Outbox,
    pub(super) platform: &'a mut P,
}

impl<P> Asked for Awake<'_, P> {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.app.hub())
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        self.app.apply(self.now, input, self.out)
    }
}

impl<P: Platform> Awake<'_, P> {
    /// Gives the hub the messages of a room that are in the storage.
    pub(super) fn load_history(&mut self, room: &str) -> Result<(), PlatformError> {
        let mut messages = Vec::new();
        if let Some(state) = self.app.hub().room_state(room) {
            let (first, top) = (state.first(), state.offset());
            messages = self.platform.history(room, first..=top)?;
            let lost = (top + 1 - first).saturating_sub(messages.len() as u64);
            if lost > 0 {
                let lost = Counted(usize::try_from(lost).unwrap_or(usize::MAX), "message");
                let text = format!(
                    "the storage is damaged: {lost} of {room:?} cannot be read, and those before \
                     are dropped"
                );
                self.platform.log(&text);
            }
        }
        let (room, messages) = (room.into(), messages.into());
        self.apply(&Input::HistoryLoaded { room, messages });
        Ok(())
    }
}

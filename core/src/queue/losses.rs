//! Losses of a reader: those it was told of, until more of their rooms is written, and the messages
//! dropped last.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{AtQueue, Loss, Sheddable, Tag, drops::Drops};

/// Losses of one reader; takes no memory before the first.
#[derive(Debug, Clone)]
pub(super) struct Losses(Option<Box<Known>>);

#[derive(Debug, Clone, Default)]
struct Known {
    /// Written gap notices of rooms of which nothing was written since.
    told: Vec<Arc<Loss>>,
    drops: Drops,
}

/// The maximum number of remembered rooms. The next notice of a forgotten room tells where the loss
/// after the previous one began.
const ROOMS_MAX: usize = 64;

impl Losses {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Records that a chunk was written, or begun.
    pub(super) fn written(&mut self, tag: &Tag) {
        match tag {
            Tag::Gap(loss) => {
                self.forget(&loss.room);
                let told = &mut self.0.get_or_insert_default().told;
                if told.len() == ROOMS_MAX {
                    told.remove(0);
                }
                told.push(loss.clone());
            }
            Tag::Position(room) => self.forget(room),
            Tag::Sheddable(shed) => self.forget(shed.room()),
            Tag::Control | Tag::Message => {}
        }
    }

    /// The offset up to which the reader knows that it has everything of a room, if it was told.
    pub(super) fn after(&self, room: &str) -> Option<u64> {
        let loss = self
            .0
            .as_ref()?
            .told
            .iter()
            .find(|loss| *loss.room == *room)?;
        Some(loss.after)
    }

    fn forget(&mut self, room: &str) {
        if let Some(known) = &mut self.0 {
            known.told.retain(|loss| *loss.room != *room);
            if known.told.is_empty() && known.drops.is_empty() {
                self.0 = None;
            }
        }
    }

    /// Records that messages were dropped.
    pub(super) fn dropped(&mut self, shed: &Sheddable, frames: u32) {
        if shed.history() != 0 {
            self.0.get_or_insert_default().drops.add(shed, frames);
        }
    }

    /// Returns true when a message was dropped; `None` when that is forgotten.
    pub(super) fn is_dropped(&self, message: &AtQueue) -> Option<bool> {
        match &self.0 {
            Some(known) => known.drops.dropped(message),
            None => Some(false),
        }
    }
}

//! Losses that a reader was told of, until more of their rooms is written to it.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{Loss, Tag};

/// Notices of gaps that were written, behind which nothing of their rooms was.
#[derive(Debug, Clone)]
pub(super) struct Losses(Option<Box<Told>>);

#[derive(Debug, Clone, Default)]
struct Told(Vec<Arc<Loss>>);

/// Rooms that are remembered. The next notice of a room that was forgotten says where the loss
/// after the one before began.
const ROOMS_MAX: usize = 64;

impl Losses {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// A chunk was written, or begun.
    pub(super) fn written(&mut self, tag: &Tag) {
        match tag {
            Tag::Gap(loss) => {
                self.forget(&loss.room);
                let Told(losses) = &mut **self.0.get_or_insert_default();
                if losses.len() == ROOMS_MAX {
                    losses.remove(0);
                }
                losses.push(loss.clone());
            }
            Tag::Position(room) => self.forget(room),
            Tag::Sheddable(shed) => self.forget(shed.room()),
            Tag::Control | Tag::Message => {}
        }
    }

    /// Up to which offset the reader has all of a room, where it was told so.
    pub(super) fn after(&self, room: &str) -> Option<u64> {
        let Told(losses) = &**self.0.as_ref()?;
        let loss = losses.iter().find(|loss| *loss.room == *room)?;
        Some(loss.after)
    }

    fn forget(&mut self, room: &str) {
        if let Some(told) = &mut self.0 {
            told.0.retain(|loss| *loss.room != *room);
            if told.0.is_empty() {
                self.0 = None;
            }
        }
    }
}

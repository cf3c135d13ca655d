//! The limits of one queue.

use super::Tag;

/// Limits on the frames queued for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes; default 1 MiB. A message that waits alone may be larger.
    pub bytes_max: usize,
    /// Frames; default 1,024.
    pub frames_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            bytes_max: 1024 * 1024,
            frames_max: 1024,
        }
    }
}

impl QueueLimits {
    /// The limits for frames of a tag.
    pub(super) const fn of(self, tag: &Tag) -> Self {
        match tag {
            Tag::Control | Tag::Position(_) | Tag::Gap(_) => self.with_reserve(),
            Tag::Message | Tag::Sheddable(_) => self,
        }
    }

    /// The limits with the part that is reserved for answers, errors, notices and pongs: an eighth.
    /// Passed: [`Pushed::Overflow`](super::Pushed::Overflow).
    pub const fn with_reserve(self) -> Self {
        Self {
            bytes_max: self.bytes_max + self.bytes_max / 8,
            frames_max: self.frames_max + self.frames_max.div_ceil(8),
        }
    }

    /// The level of a queue after its oldest messages were dropped. It leaves some space, or each
    /// further message would drop one.
    pub(super) const fn after_drop(self) -> Self {
        Self {
            bytes_max: self.bytes_max - self.bytes_max / 8,
            frames_max: self.frames_max - self.frames_max / 8,
        }
    }
}

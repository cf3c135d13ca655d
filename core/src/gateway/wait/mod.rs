//! Values that take time, and all that waits for them.

mod later;
mod pending;
mod read;
mod work;

pub use self::{
    later::{IntoNowOrLater, Later, NowOrLater, later},
    pending::CompleteError,
    read::HistoryRead,
    work::Work,
};
pub(super) use self::{
    pending::PendingReplies,
    work::{OwnedFrame, Resumed},
};

//! Values that take time, and the messages and connections that wait for them.

mod hold;
mod later;
mod pending;
mod read;
mod work;

pub(super) use self::{
    hold::{Entry, Hold, Next, Opening, written},
    pending::PendingReplies,
    work::{OwnedFrame, Passed, Resumed},
};
pub use self::{
    later::{IntoNowOrLater, Later, NowOrLater, later},
    pending::CompleteError,
    read::HistoryRead,
    work::Work,
};

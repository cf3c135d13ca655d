//! Pieces of mail.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use roomcast_core::{
    CloseCode, Input,
    ask::{Answer, Ask, AskError},
    queue::Tag,
    relay::RelayEvent,
};
use tokio::sync::{mpsc, oneshot};

use super::flow::Cost;

/// A task that one shard runs for another.
type Task<S> = Box<dyn FnOnce(&Rc<S>) + Send>;

/// Mail from one shard, of type `S`, to another.
pub(crate) enum Mail<S> {
    /// An input from a connection, for a namespace whose home is the receiving shard. Boxed, so
    /// that it does not enlarge the more frequent frames.
    Input {
        namespace: Arc<str>,
        input: Box<Input<'static>>,
    },
    /// A request to a namespace whose home is the receiving shard.
    Ask {
        namespace: Arc<str>,
        ask: Box<Ask>,
        answer: oneshot::Sender<Result<Answer, AskError>>,
    },
    /// Frames for sockets of the receiving shard.
    Deliver {
        keys: Box<[u32]>,
        bytes: Bytes,
        frames: u32,
        tag: Tag,
    },
    /// The close of a connection by its hub. The socket is on the receiving shard.
    Close {
        key: u32,
        code: CloseCode,
        reason: Box<str>,
    },
    /// Lets `$bye` into the queue of a connection whose socket is on the receiving shard.
    AdmitBye { key: u32 },
    /// An event of the relay for a namespace, and the bytes that it counts while in flight.
    #[cfg_attr(not(feature = "relay"), allow(dead_code))] // nobody sends it
    Relay {
        namespace: Arc<str>,
        instance: u64,
        event: Box<RelayEvent>,
        bytes: usize,
    },
    /// Credit for messages and frames that have been processed.
    Credit(Cost),
    /// Anything else, off the hot path.
    Task(Task<S>),
}

// All mail in flight is in memory, so its size matters.
const _: () = assert!(size_of::<Mail<()>>() <= 88);

/// The overhead of a piece of mail in bytes: its own size, and the bookkeeping of its buffers.
const OVERHEAD: usize = size_of::<Mail<()>>() + 64;

/// Mail from one turn of a shard to another shard.
pub(crate) struct MailBatch<S> {
    pub(in crate::shard) from: usize,
    pub(in crate::shard) mail: Vec<Mail<S>>,
}

/// The mailboxes of all shards.
pub(crate) type Posts<S> = Arc<[mpsc::UnboundedSender<MailBatch<S>>]>;

impl<S> Mail<S> {
    /// Mail that runs a task.
    pub(crate) fn task(task: impl FnOnce(&Rc<S>) + Send + 'static) -> Self {
        Self::Task(Box::new(task))
    }

    /// The bytes that the mail counts against the limits.
    #[allow(clippy::wildcard_enum_match_arm)] // other inputs are small
    pub(in crate::shard) fn cost(&self) -> Cost {
        let (messages, frames) = match self {
            Self::Input { input, .. } => match &**input {
                Input::Text { text, .. } => (OVERHEAD + text.len(), 0),
                Input::Binary { bytes, .. } => (OVERHEAD + bytes.len(), 0),
                _ => (OVERHEAD, 0),
            },
            Self::Deliver { keys, bytes, .. } => (0, OVERHEAD + bytes.len() + size_of_val(&**keys)),
            Self::Ask { .. }
            | Self::Close { .. }
            | Self::AdmitBye { .. }
            | Self::Relay { .. }
            | Self::Credit(_)
            | Self::Task(_) => (0, 0),
        };
        Cost { messages, frames }
    }
}

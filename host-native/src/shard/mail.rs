//! Mail between shards: what one turn of one has for another travels as one message.

use std::{
    fmt,
    rc::Rc,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use roomcast_core::{
    Input,
    ask::{Answer, Ask, AskError},
    queue::Tag,
};
use tokio::{
    sync::{mpsc, oneshot},
    task,
};

use super::{Shard, flow::cost};
use crate::handle::{Answered, Line};

/// Mail from one shard to another.
pub(crate) enum Mail {
    /// An input from a connection, for a namespace that is at home on the receiving shard. Boxed,
    /// so that frames, which are many more, need not take as much.
    Input {
        namespace: Arc<str>,
        input: Box<Input<'static>>,
    },
    /// A request to a namespace that is at home on the receiving shard.
    Ask {
        namespace: Arc<str>,
        ask: Box<Ask>,
        answer: oneshot::Sender<Result<Answer, AskError>>,
    },
    /// Frames for sockets that are there.
    Deliver {
        keys: Box<[u32]>,
        bytes: Bytes,
        frames: u32,
        tag: Tag,
    },
    /// Bytes of messages and frames that were under way and are dealt with.
    Paid { messages: usize, frames: usize },
    /// Anything else: off the hot path.
    Task(Task),
}

// As many as are under way are in memory.
const _: () = assert!(size_of::<Mail>() <= 88);

/// Mail from one turn of a shard to another shard.
#[derive(Debug)]
pub(crate) struct MailBatch {
    from: usize,
    mail: Vec<Mail>,
}

impl MailBatch {
    pub(crate) const fn new(from: usize, mail: Vec<Mail>) -> Self {
        Self { from, mail }
    }
}

/// Work that a shard does for another.
type Task = Box<dyn FnOnce(&Rc<Shard>) + Send>;

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input { .. } => "Input",
            Self::Ask { .. } => "Ask",
            Self::Deliver { .. } => "Deliver",
            Self::Paid { .. } => "Paid",
            Self::Task(_) => "Task",
        })
    }
}

impl Shard {
    /// Takes in what other shards say, for as long as the shard lives.
    pub(crate) async fn read_mail(self: Rc<Self>, mut post: mpsc::UnboundedReceiver<MailBatch>) {
        while let Some(MailBatch { from, mail }) = post.recv().await {
            let (mut messages, mut frames) = (0, 0);
            for mail in mail {
                match &mail {
                    Mail::Input { .. } => messages += cost(&mail),
                    Mail::Deliver { .. } => frames += cost(&mail),
                    Mail::Ask { .. } | Mail::Paid { .. } | Mail::Task(_) => {}
                }
                self.read_one(from, mail);
            }
            self.dealt_with(from, messages, frames);
            // A shard with much mail has sockets too.
            task::yield_now().await;
        }
    }

    fn read_one(self: &Rc<Self>, from: usize, mail: Mail) {
        match mail {
            Mail::Input { namespace, input } => {
                if let Some(namespace) = self.namespace(&namespace) {
                    namespace.apply(self, &input);
                }
            }
            Mail::Ask {
                namespace,
                ask,
                answer,
            } => {
                let asked = self.ask(&namespace, &ask);
                self.when_committed(move || {
                    let _ = answer.send(asked); // who asked may be gone
                });
            }
            Mail::Deliver {
                keys,
                bytes,
                frames,
                tag,
            } => {
                let now = self.now();
                for &key in &keys {
                    if let Some(socket) = self.socket(key) {
                        let pushed = self.push(&socket, now, bytes.clone(), frames, tag.clone());
                        self.settle(&socket, &pushed);
                    }
                }
            }
            Mail::Paid { messages, frames } => self.paid(from, messages, frames),
            Mail::Task(task) => task(self),
        }
    }
}

/// The way to each shard.
pub(crate) type Posts = Arc<[mpsc::UnboundedSender<MailBatch>]>;

/// The shard where a namespace is at home: the same for everybody who asks.
pub(crate) fn home_of(namespace: &str, shards: usize) -> usize {
    let hash = namespace.bytes().fold(0_usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    hash % shards
}

/// The way of handles to the shards, while there are any.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    posts: RwLock<Option<Posts>>,
    /// Held while settings are changed.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

impl Switchboard {
    pub(crate) fn posts(&self) -> Option<Posts> {
        let posts = self.posts.read().unwrap_or_else(PoisonError::into_inner);
        posts.clone()
    }

    /// Opens, for as long as the value lives.
    pub(crate) fn open(self: &Arc<Self>, posts: Posts) -> Open {
        self.set(Some(posts));
        Open(self.clone())
    }

    fn set(&self, posts: Option<Posts>) {
        *self.posts.write().unwrap_or_else(PoisonError::into_inner) = posts;
    }
}

impl Line for Switchboard {
    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Result<Answered, AskError> {
        let posts = self.posts().ok_or(AskError::NotRunning)?;
        if posts.is_empty() {
            return Err(AskError::NotRunning);
        }
        let home = home_of(namespace, posts.len());
        let (answer, answered) = oneshot::channel();
        let mail = Mail::Ask {
            namespace: namespace.clone(),
            ask: Box::new(ask),
            answer,
        };
        // As if from itself: it counts in no account between shards.
        let posted = posts[home].send(MailBatch::new(home, vec![mail]));
        posted.map_err(|_| AskError::NotRunning)?;
        Ok(answered)
    }
}

/// Closes the switchboard when dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Switchboard>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

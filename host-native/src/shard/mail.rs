//! Mail between shards: all mail of one turn to another shard is one batch.

use std::{
    rc::Rc,
    sync::{Arc, PoisonError, RwLock},
};

use roomcast_core::{
    ask::{Ask, AskError},
    queue::Pushed,
};
use tokio::{
    sync::{mpsc, oneshot},
    task,
};

use super::{
    egress::Cost,
    state::{Mail, MailBatch, Posts, Shard},
};
use crate::namespace::handle::{Answered, Line};

/// The number of further batches that are read in one turn with a relay.
const RELAY_BATCHES: usize = 15;

impl Mail {
    /// Mail that runs a task, and the receiver of its result. The result arrives when the task's
    /// changes are committed, or never.
    pub(crate) fn request<R: Send + 'static>(
        task: impl FnOnce(&Rc<Shard>) -> R + Send + 'static,
    ) -> (Self, oneshot::Receiver<R>) {
        let (answer, answered) = oneshot::channel();
        let task = move |shard: &Rc<Shard>| {
            let result = task(shard);
            shard.egress.when_committed(move || {
                let _ = answer.send(result); // the caller may be gone
            });
        };
        (Self::task(task), answered)
    }
}

impl Shard {
    /// Reads the mail of other shards, as long as the shard exists.
    pub(crate) async fn read_mail(self: Rc<Self>, mut post: mpsc::UnboundedReceiver<MailBatch>) {
        while let Some(batch) = post.recv().await {
            self.read_batch(batch);
            if self.shared.relay.is_some() {
                // The relay delivers messages one at a time. Those that have arrived meanwhile are
                // sent together, in one write for each socket.
                for _ in 0..RELAY_BATCHES {
                    let Ok(batch) = post.try_recv() else { break };
                    self.read_batch(batch);
                }
            }
            // A shard with much mail must also serve its sockets.
            task::yield_now().await;
        }
    }

    fn read_batch(self: &Rc<Self>, MailBatch { from, mail }: MailBatch) {
        let mut total = Cost::default();
        for mail in mail {
            let cost = mail.cost();
            total.messages += cost.messages;
            total.frames += cost.frames;
            self.read_one(from, mail);
        }
        self.egress.grant_credit(from, total);
    }

    fn read_one(self: &Rc<Self>, from: usize, mail: Mail) {
        match mail {
            Mail::Input { namespace, input } => {
                if let Some(namespace) = self.namespace(&namespace) {
                    self.apply(&namespace, &input);
                }
            }
            Mail::Ask {
                namespace,
                ask,
                answer,
            } => self.ask(&namespace, &ask, answer),
            Mail::Deliver {
                keys,
                bytes,
                frames,
                tag,
            } => {
                let now = self.now();
                for &key in &keys {
                    if let Some(socket) = self.egress.socket(key) {
                        let pushed =
                            self.egress
                                .push(&socket, now, bytes.clone(), frames, tag.clone());
                        if pushed == Pushed::Overflow {
                            self.close_full(&socket);
                        }
                    }
                }
            }
            Mail::Close { key, code, reason } => {
                if let Some(socket) = self.egress.socket(key) {
                    self.egress.close_here(&socket, code, &reason);
                }
            }
            Mail::AdmitBye { key } => {
                if let Some(socket) = self.egress.socket(key) {
                    socket.admit_bye();
                }
            }
            Mail::Relay {
                namespace,
                instance,
                event,
                bytes,
            } => {
                self.take_relay_event(&namespace, instance, event);
                if let Some(relay) = &self.shared.relay {
                    relay.is_done(self.index, bytes);
                }
            }
            Mail::Credit(cost) => {
                self.egress.flow.take_credit(from, cost);
                self.egress.ring();
            }
            Mail::Task(task) => task(self),
        }
    }
}

/// The home shard of a namespace, the same on all threads.
pub(crate) fn home_of(namespace: &str, shards: usize) -> usize {
    let hash = namespace.bytes().fold(0_usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    hash % shards
}

/// Posts mail as if from the shard itself: it does not count in the flow control between shards.
#[cfg(feature = "relay")]
pub(crate) fn post_batch(posts: &Posts, shard: usize, mail: Vec<Mail>) {
    let from = shard;
    let _ = posts[shard].send(MailBatch { from, mail }); // a shard that has ended reads no mail
}

/// The way from handles to the shards, while they run.
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

    /// Posts mail as if from the shard itself: it does not count in the flow control between
    /// shards. `None` when the shard does not run.
    pub(crate) fn post(&self, shard: usize, mail: Mail) -> Option<()> {
        let (from, mail) = (shard, vec![mail]);
        self.posts()?
            .get(shard)?
            .send(MailBatch { from, mail })
            .ok()
    }

    /// Opens the switchboard until the returned value is dropped.
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
        let posts = self.posts().filter(|posts| !posts.is_empty());
        let posts = posts.ok_or(AskError::NotRunning)?;
        let (answer, answered) = oneshot::channel();
        let mail = Mail::Ask {
            namespace: namespace.clone(),
            ask: Box::new(ask),
            answer,
        };
        let posted = self.post(home_of(namespace, posts.len()), mail);
        posted.ok_or(AskError::NotRunning)?;
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

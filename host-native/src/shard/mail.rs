//! Mail between shards: what one turn of one has for another travels as one message.

pub(super) mod letter;

use std::{
    mem,
    rc::Rc,
    sync::{Arc, PoisonError, RwLock},
    task::Context,
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
    flow::Cost,
    state::{Mail, MailBatch, Posts, Shard},
};
use crate::namespace::handle::{Answered, Line};

impl Mail {
    /// Mail that has a task run, and the way of its result, which comes when what the task changed
    /// is committed, or never.
    pub(crate) fn request<R: Send + 'static>(
        task: impl FnOnce(&Rc<Shard>) -> R + Send + 'static,
    ) -> (Self, oneshot::Receiver<R>) {
        let (answer, answered) = oneshot::channel();
        let task = move |shard: &Rc<Shard>| {
            let result = task(shard);
            shard.when_committed(move || {
                let _ = answer.send(result); // who asked may be gone
            });
        };
        (Self::task(task), answered)
    }
}

impl Shard {
    /// Takes mail for another shard, which leaves with the turn.
    pub(crate) fn post(&self, shard: usize, mail: Mail) {
        self.flow.posted(shard, mail.cost());
        self.outgoing.borrow_mut()[shard].push(mail);
        self.has_mail.set(true);
        self.ring();
    }

    /// Sends what was posted.
    pub(super) fn send_mail(&self) {
        for (post, mail) in self.posts.iter().zip(&mut *self.outgoing.borrow_mut()) {
            if !mail.is_empty() {
                let (from, mail) = (self.index, mem::take(mail));
                let _ = post.send(MailBatch { from, mail }); // a shard that has ended reads no mail
            }
        }
    }

    /// Takes in what other shards say, for as long as the shard lives.
    pub(crate) async fn read_mail(self: Rc<Self>, mut post: mpsc::UnboundedReceiver<MailBatch>) {
        while let Some(MailBatch { from, mail }) = post.recv().await {
            let mut total = Cost::default();
            for mail in mail {
                let cost = mail.cost();
                total.messages += cost.messages;
                total.frames += cost.frames;
                self.read_one(from, mail);
            }
            self.dealt_with(from, total);
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
            } => self.ask(&namespace, &ask, answer),
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
                        if pushed == Pushed::Overflow {
                            self.close_full(&socket);
                        }
                    }
                }
            }
            Mail::Paid(cost) => {
                self.flow.paid(from, cost);
                self.ring();
            }
            Mail::Task(task) => task(self),
        }
    }

    /// Pays for the frames of another shard that were taken in, and owes for its messages.
    fn dealt_with(&self, from: usize, cost: Cost) {
        self.flow.owe(from, cost.messages);
        if cost.frames > 0 {
            let messages = 0;
            self.post(from, Mail::Paid(Cost { messages, ..cost }));
        } else if cost.messages > 0 {
            self.ring();
        }
    }

    /// Pays back the messages that are done, behind the frames that they caused: at the end of the
    /// turn, when those are on their way.
    pub(super) fn pay(&self) {
        for (to, messages) in self.flow.take_owed() {
            let frames = 0;
            self.post(to, Mail::Paid(Cost { messages, frames }));
        }
    }

    /// True when a connection must not be read, because the home of its namespace, or the shards
    /// that get its messages, are behind. Its task is woken when they have caught up.
    pub(crate) fn must_wait(&self, home: usize, cx: &Context<'_>) -> bool {
        self.posts.len() > 1 && self.flow.must_wait(home, cx)
    }
}

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

    /// Posts mail as if from the shard itself: it counts in no account between shards. `None` when
    /// that does not run.
    pub(crate) fn post(&self, shard: usize, mail: Mail) -> Option<()> {
        let (from, mail) = (shard, vec![mail]);
        self.posts()?
            .get(shard)?
            .send(MailBatch { from, mail })
            .ok()
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

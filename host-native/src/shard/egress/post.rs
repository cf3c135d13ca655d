//! Mail to other shards, which leaves with the turn.

use std::{mem, task::Context};

use super::{
    flow::Cost,
    letter::{Mail, MailBatch},
    state::Egress,
};

impl<S> Egress<S> {
    /// Takes mail for another shard, which leaves with the turn.
    pub(crate) fn post(&self, shard: usize, mail: Mail<S>) {
        self.flow.posted(shard, mail.cost());
        self.outgoing.borrow_mut()[shard].push(mail);
        self.has_mail.set(true);
        self.ring();
    }

    /// Sends what was posted.
    pub(in crate::shard) fn send_mail(&self) {
        if !self.has_mail.take() {
            return;
        }
        for (post, mail) in self.posts.iter().zip(&mut *self.outgoing.borrow_mut()) {
            if !mail.is_empty() {
                let (from, mail) = (self.index, mem::take(mail));
                let _ = post.send(MailBatch { from, mail }); // a shard that has ended reads no mail
            }
        }
    }

    /// Pays for the frames of another shard that were taken in, and owes for its messages.
    pub(in crate::shard) fn dealt_with(&self, from: usize, cost: Cost) {
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
    pub(in crate::shard) fn pay(&self) {
        if self.posts.len() == 1 {
            return;
        }
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

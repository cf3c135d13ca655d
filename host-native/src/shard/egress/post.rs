//! Mail to other shards and commands for the relay, sent at the end of the turn.

use std::{mem, task::Context};

use super::{
    flow::Cost,
    letter::{Mail, MailBatch},
    state::Egress,
};
use crate::shared::relay::{HubCommand, RelayRequest};

impl<S> Egress<S> {
    /// Queues mail for another shard until the end of the turn.
    pub(crate) fn post(&self, shard: usize, mail: Mail<S>) {
        self.flow.posted(shard, mail.cost());
        self.outgoing.borrow_mut()[shard].push(mail);
        self.has_mail.set(true);
        self.ring();
    }

    /// Sends the queued mail.
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

    /// Queues a command for the relay until the end of the turn. Sent one at a time, each would
    /// wake the relay's thread, and messages that are published together would return separately.
    pub(in crate::shard) fn relay(&self, command: HubCommand) {
        let mut relayed = self.relayed.borrow_mut();
        relayed.push(command);
        if relayed.len() == 1 {
            self.ring();
        }
    }

    /// Sends the queued commands to the relay.
    pub(crate) fn send_relayed(&self) {
        if let Some(relay) = &self.shared.relay
            && !self.relayed.borrow().is_empty()
        {
            relay.send(RelayRequest::Commands(self.relayed.take()));
        }
    }

    /// Returns credit for accepted frames; credit for messages follows at the end of the turn.
    pub(in crate::shard) fn grant_credit(&self, from: usize, cost: Cost) {
        self.flow.count_done(from, cost.messages);
        if cost.frames > 0 {
            let messages = 0;
            self.post(from, Mail::Credit(Cost { messages, ..cost }));
        } else if cost.messages > 0 {
            self.ring();
        }
    }

    /// Returns credit for processed messages at the end of the turn, after the frames that they
    /// caused were sent.
    pub(in crate::shard) fn grant_message_credit(&self) {
        if self.posts.len() == 1 {
            return;
        }
        for (to, messages) in self.flow.take_done() {
            let frames = 0;
            self.post(to, Mail::Credit(Cost { messages, frames }));
        }
    }

    /// True when a connection must not be read, because the home shard of its namespace, or the
    /// shards that receive its messages, are behind. The task is woken when they have caught up.
    pub(crate) fn must_wait(&self, home: usize, cx: &Context<'_>) -> bool {
        self.posts.len() > 1 && self.flow.must_wait(home, cx)
    }
}

//! The end of a turn: runs are sent, mail leaves, each socket that got something is written once.
//!
//! It saves a system call for every message but the first that one turn has for a connection. The
//! end of the turn is a task that wakes behind all tasks whose input was ready, so that it comes
//! after all of that was read.
//!
//! A large room is flushed in slices, with turns in between: other rooms' members do not wait for
//! all of it. What is published to it meanwhile waits, and joins. Nothing of that changes an order:
//! each socket has a queue of its own.

use std::{collections::VecDeque, mem, rc::Rc};

use tokio::task;

use super::{Batch, Mail, Shard};
use crate::{namespace::Namespace, socket::Socket};

/// Sockets flushed before everybody else gets a turn.
const FLUSH_SLICE: usize = 512;

impl Shard {
    /// Has the namespace's run sent when the turn ends.
    pub(crate) fn list_run(&self, namespace: &Rc<Namespace>) {
        self.runs.borrow_mut().push(namespace.clone());
        self.bell.notify_one();
    }

    pub(crate) fn post(&self, shard: usize, mail: Mail) {
        self.flow.posted(shard, &mail);
        self.outgoing.borrow_mut()[shard].push(mail);
        self.ring();
    }

    /// Has the turn ended once more.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Ends every turn, for as long as the shard lives.
    pub(crate) async fn end_turns(self: Rc<Self>) {
        // What each turn left to flush; they take turns as well.
        let mut lists = VecDeque::new();
        loop {
            if lists.is_empty() {
                self.bell.notified().await;
                self.end_runs(usize::MAX);
            } else {
                task::yield_now().await;
                self.end_runs(FLUSH_SLICE);
            }
            self.pay();
            self.send_mail();
            let dirty = mem::take(&mut *self.dirty.borrow_mut());
            if !dirty.is_empty() {
                lists.push_back(VecDeque::from(dirty));
            }
            if let Some(mut list) = lists.pop_front() {
                let now = self.now();
                for socket in list.drain(..list.len().min(FLUSH_SLICE)) {
                    socket.flush(now);
                }
                if list.is_empty() {
                    self.reuse(list.into());
                } else {
                    lists.push_back(list);
                }
            }
            if lists.is_empty() {
                self.shared.flush_record();
            }
        }
    }

    /// Gives a buffer back for the next turn's list.
    fn reuse(&self, list: Vec<Rc<Socket>>) {
        let dirty = &mut *self.dirty.borrow_mut();
        if dirty.capacity() == 0 {
            *dirty = list;
        }
    }

    /// Ends the runs with so many recipients at most.
    fn end_runs(&self, recipients_max: usize) {
        // Ending a run may close slow connections, which publishes nothing: no run begins here.
        let mut runs = mem::take(&mut *self.runs.borrow_mut());
        runs.retain(|namespace| !namespace.end_run(self, recipients_max));
        *self.runs.borrow_mut() = runs;
    }

    fn send_mail(&self) {
        for (post, mail) in self
            .shared
            .posts
            .iter()
            .zip(&mut *self.outgoing.borrow_mut())
        {
            if !mail.is_empty() {
                let (from, mail) = (self.index, mem::take(mail));
                let _ = post.send(Batch { from, mail }); // a shard that has ended reads no mail
            }
        }
    }
}

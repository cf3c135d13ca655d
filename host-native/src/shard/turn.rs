//! The end of a turn: runs are sent, mail leaves, each socket that got something is written once.
//!
//! It saves a system call for every message but the first that one turn has for a connection. The
//! end of the turn is a task that wakes behind all tasks whose input was ready, so that it comes
//! after all of that was read.

use std::rc::Rc;

use tokio::task;

use super::{Batch, Mail, Shard};
use crate::namespace::Namespace;

/// Sockets flushed before other rooms' input gets its turn again.
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
        let mut list = Vec::new();
        loop {
            self.bell.notified().await;
            self.end_runs();
            self.pay();
            self.send_mail();
            std::mem::swap(&mut list, &mut *self.dirty.borrow_mut());
            let mut slices = list.chunks(FLUSH_SLICE).peekable();
            while let Some(slice) = slices.next() {
                let now = self.now();
                for socket in slice {
                    socket.flush(now);
                }
                if slices.peek().is_some() {
                    task::yield_now().await;
                }
            }
            list.clear();
            self.shared.flush_record();
        }
    }

    fn end_runs(&self) {
        // Ending a run may close slow connections, which publishes nothing: no run begins here.
        let runs = std::mem::take(&mut *self.runs.borrow_mut());
        for namespace in &runs {
            namespace.end_run(self);
        }
    }

    fn send_mail(&self) {
        for (post, mail) in self
            .shared
            .posts
            .iter()
            .zip(&mut *self.outgoing.borrow_mut())
        {
            if !mail.is_empty() {
                let (from, mail) = (self.index, std::mem::take(mail));
                let _ = post.send(Batch { from, mail }); // a shard that has ended reads no mail
            }
        }
    }
}

//! Inputs into the namespaces of a shard, and what they leave to it.

use std::rc::Rc;

use roomcast_core::{
    Applied, CloseCode, ConnId, Handshake, Input, Outcome, Timestamp, gateway::Token,
    hub::RequestError,
};

use super::{
    egress::Link,
    hosted::{Hosted, Left},
    state::{Mail, Shard},
};
use crate::{namespace::refusal::Refusal, socket::Socket};

impl Shard {
    /// The time at which an input or work of a namespace begins.
    fn begin(&self, namespace: &Rc<Hosted>) -> Timestamp {
        let now = self.now();
        let metrics = self.metrics();
        metrics.inputs.add(1);
        self.turn_watch
            .enter(now, metrics.turn.numbers(), namespace);
        now
    }

    /// Puts an input into a namespace: the hot path.
    pub(crate) fn apply(&self, namespace: &Rc<Hosted>, input: &Input<'_>) -> Applied {
        let now = self.begin(namespace);
        let (applied, left) = namespace.apply(&self.out, now, input);
        self.take_left(namespace, left);
        applied
    }

    /// Puts an input in. Of a send it says what became of it: the queues are looked at, not only
    /// the rooms.
    pub(crate) fn give(&self, namespace: &Rc<Hosted>, input: &Input<'_>) -> Applied {
        let now = self.begin(namespace);
        let (applied, left) = namespace.give(&self.out, now, input);
        self.take_left(namespace, left);
        applied
    }

    /// Puts a connection in.
    pub(super) fn connect(
        &self,
        namespace: &Rc<Hosted>,
        handshake: Handshake,
        link: Link,
    ) -> Result<ConnId, Refusal> {
        self.refill_numbers(namespace);
        let now = self.begin(namespace);
        let (connected, left) = namespace.connect(&self.out, now, handshake, link);
        if namespace.next_schedule().is_some() {
            // Perhaps with this connection, for it may be the first.
            self.tick_schedules();
        }
        self.take_left(namespace, left);
        connected
    }

    /// Answers a message that the host refuses. The namespace stays as it is, so that the journal
    /// has nothing of it.
    #[cold]
    pub(super) fn decline(
        &self,
        namespace: &Rc<Hosted>,
        conn: ConnId,
        text: &str,
        error: RequestError,
    ) {
        let now = self.begin(namespace);
        let left = namespace.decline(&self.out, now, conn, text, error);
        self.take_left(namespace, left);
    }

    /// Sends what there is for a connection so far: nothing that it caused is held back any more.
    pub(crate) fn finish_for(&self, namespace: &Rc<Hosted>, conn: ConnId) {
        let left = namespace.finish_for(&self.out, self.now(), conn);
        self.take_left(namespace, left);
    }

    /// Tells the application, once, that all connections will be closed.
    pub(crate) fn drain(&self, namespace: &Rc<Hosted>) {
        if namespace.begins_drain() {
            self.apply(namespace, &Input::Drain);
        }
    }

    /// Does what is due.
    pub(crate) fn timeout(&self, namespace: &Rc<Hosted>) {
        if namespace
            .next_timeout()
            .is_some_and(|due| due <= self.now())
        {
            // What panicked is due no more, and the rest is at the next look.
            self.apply(namespace, &Input::Timeout);
            Self::answer_relayed(namespace);
        }
    }

    fn complete(&self, namespace: &Rc<Hosted>, token: Token, outcome: Outcome) {
        let now = self.begin(namespace);
        let left = namespace.complete(&self.out, now, token, outcome);
        self.take_left(namespace, left);
    }

    /// Does what an input has left to the shard.
    #[inline]
    pub(super) fn take_left(&self, namespace: &Rc<Hosted>, left: Left) {
        if left.batch {
            self.runs.borrow_mut().push(namespace.clone());
            self.out.ring();
        }
        if left.news {
            self.take_news(namespace);
        }
        if left.histories_full || left.client_keys_full {
            self.histories_full
                .set(self.histories_full.get() | left.histories_full);
            self.client_keys_full
                .set(self.client_keys_full.get() | left.client_keys_full);
            self.out.ring();
        }
    }

    #[cold]
    fn take_news(&self, namespace: &Rc<Hosted>) {
        let mut news = namespace.take_news();
        for (token, user, room) in news.asked {
            let work = self.ask_join(&namespace.name, user, room);
            news.begun.push((token, work));
        }
        // First the work: some of it may be cancelled already.
        for (token, work) in news.begun {
            let (shard, weak) = (self.weak.clone(), Rc::downgrade(namespace));
            namespace.begin_work(token, work, move |outcome| {
                if let Some((shard, namespace)) = shard.upgrade().zip(weak.upgrade()) {
                    shard.complete(&namespace, token, outcome);
                }
            });
        }
        for token in news.cancelled {
            namespace.cancel_work(token);
        }
    }

    /// Has the hub of a socket close it, wherever it is.
    pub(crate) fn ask_close(&self, socket: &Socket, code: CloseCode, reason: &str) {
        let Some(address) = socket.address() else {
            return;
        };
        // It may be closed already.
        let close = Input::close(address.conn, code, reason);
        if address.shard == self.index {
            if let Some(namespace) = self.namespace(&address.namespace) {
                self.apply(&namespace, &close);
            }
        } else {
            let (namespace, input) = (address.namespace.clone(), close.into_owned().into());
            self.out
                .post(address.shard, Mail::Input { namespace, input });
        }
    }

    /// Has the hub of a socket of this shard close it: what was queued for it was too much.
    #[cold]
    pub(crate) fn close_full(&self, socket: &Socket) {
        self.ask_close(socket, CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
    }
}

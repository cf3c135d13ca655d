//! Inputs of the namespaces of a shard, and the shard's work after them.

use std::rc::Rc;

use roomcast_core::{
    Applied, CloseCode, ConnId, Handshake, Input, Outcome, Timestamp, gateway::Token,
    hub::RequestError,
};

use super::{
    egress::Link,
    hosted::{FollowUp, Hosted},
    state::{Mail, Shard},
};
use crate::{namespace::refusal::Refusal, socket::Socket};

impl Shard {
    /// Counts an input or work of a namespace, and returns the time at which it starts.
    fn begin(&self, namespace: &Rc<Hosted>) -> Timestamp {
        let now = self.now();
        let metrics = self.metrics();
        metrics.inputs.add(1);
        self.turn_watch
            .enter(now, metrics.turn.numbers(), namespace);
        now
    }

    /// Applies an input to a namespace: the hot path.
    pub(crate) fn apply(&self, namespace: &Rc<Hosted>, input: &Input<'_>) -> Applied {
        let now = self.begin(namespace);
        let (applied, follow_up) = namespace.apply(&self.egress, now, input);
        self.follow_up(namespace, follow_up);
        applied
    }

    /// Applies an input. The result of a send also counts queues that overflowed.
    pub(crate) fn apply_and_report(&self, namespace: &Rc<Hosted>, input: &Input<'_>) -> Applied {
        let now = self.begin(namespace);
        let (applied, follow_up) = namespace.apply_and_report(&self.egress, now, input);
        self.follow_up(namespace, follow_up);
        applied
    }

    /// Adds a connection.
    pub(super) fn connect(
        &self,
        namespace: &Rc<Hosted>,
        handshake: Handshake,
        link: Link,
    ) -> Result<ConnId, Refusal> {
        self.refill_serials(namespace);
        let now = self.begin(namespace);
        let (connected, follow_up) = namespace.connect(&self.egress, now, handshake, link);
        if namespace.next_schedule().is_some() {
            // The first connection may start a schedule.
            self.tick_schedules();
        }
        self.follow_up(namespace, follow_up);
        connected
    }

    /// Answers a message that the host refuses. The namespace does not change, so the journal does
    /// not record it.
    #[cold]
    pub(super) fn decline(
        &self,
        namespace: &Rc<Hosted>,
        conn: ConnId,
        text: &str,
        error: RequestError,
    ) {
        let now = self.begin(namespace);
        let follow_up = namespace.decline(&self.egress, now, conn, text, error);
        self.follow_up(namespace, follow_up);
    }

    /// Sends all output for a connection so far: nothing for it is held back any more.
    pub(crate) fn finish_for(&self, namespace: &Rc<Hosted>, conn: ConnId) {
        let follow_up = namespace.finish_for(&self.egress, self.now(), conn);
        self.follow_up(namespace, follow_up);
    }

    /// Notifies the application, once, that all connections will be closed.
    pub(crate) fn drain(&self, namespace: &Rc<Hosted>) {
        if namespace.begins_drain() {
            self.apply(namespace, &Input::Drain);
        }
    }

    /// Acts on due timeouts.
    pub(crate) fn timeout(&self, namespace: &Rc<Hosted>) {
        if namespace
            .next_timeout()
            .is_some_and(|due| due <= self.now())
        {
            // A timer that panicked is no longer due; the others run at the next sweep.
            self.apply(namespace, &Input::Timeout);
            Self::answer_relayed(namespace);
        }
    }

    fn complete(&self, namespace: &Rc<Hosted>, token: Token, outcome: Outcome) {
        let now = self.begin(namespace);
        let follow_up = namespace.complete(&self.egress, now, token, outcome);
        self.follow_up(namespace, follow_up);
    }

    /// Performs the work after an input.
    #[inline]
    pub(super) fn follow_up(&self, namespace: &Rc<Hosted>, follow_up: FollowUp) {
        if follow_up.batch {
            self.batches.borrow_mut().push(namespace.clone());
            self.egress.ring();
        }
        if follow_up.work {
            self.take_work(namespace);
        }
        if follow_up.histories_full || follow_up.client_keys_full {
            self.histories_full
                .set(self.histories_full.get() | follow_up.histories_full);
            self.client_keys_full
                .set(self.client_keys_full.get() | follow_up.client_keys_full);
            self.egress.ring();
        }
    }

    /// Starts and cancels work of the application.
    #[cold]
    fn take_work(&self, namespace: &Rc<Hosted>) {
        let mut work = namespace.take_work();
        for (token, user, room) in work.asked {
            let asked = self.ask_join(&namespace.name, user, room);
            work.begun.push((token, asked));
        }
        // Work is started first: some of it may be cancelled already.
        for (token, work) in work.begun {
            let (shard, weak) = (self.weak.clone(), Rc::downgrade(namespace));
            namespace.begin_work(token, work, move |outcome| {
                if let Some((shard, namespace)) = shard.upgrade().zip(weak.upgrade()) {
                    shard.complete(&namespace, token, outcome);
                }
            });
        }
        for token in work.cancelled {
            namespace.cancel_work(token);
        }
    }

    /// Asks the hub of a socket, on any shard, to close it.
    pub(crate) fn ask_close(&self, socket: &Socket, code: CloseCode, reason: &str) {
        let Some(address) = socket.address() else {
            return;
        };
        // An already closed connection is ignored.
        let close = Input::close(address.conn, code, reason);
        if address.shard == self.index {
            if let Some(namespace) = self.namespace(&address.namespace) {
                self.apply(&namespace, &close);
            }
        } else {
            let (namespace, input) = (address.namespace.clone(), close.into_owned().into());
            self.egress
                .post(address.shard, Mail::Input { namespace, input });
        }
    }

    /// Asks the hub of a socket of this shard to close it, since its queue overflowed.
    #[cold]
    pub(crate) fn close_full(&self, socket: &Socket) {
        self.ask_close(socket, CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
    }
}

//! Publishes that the relay has not answered.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{command::Publish, topic::TopicPosition};
use crate::wire::{ConnId, OwnedAddress};

/// Publishes without an answer, by their tokens, which grow in the order of publishing.
///
/// One that was not answered in time is in doubt: it may have its place, so it is published again
/// under its key. Until all that were sent are answered, later ones wait: so the messages of a
/// publisher keep their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publishes {
    pending: BTreeMap<u64, Pending>,
    bytes: usize,
    /// The number of those that were sent, and are not answered.
    sent: usize,
    /// True while some are in doubt.
    stalled: bool,
    /// True when replicas must have each before it counts.
    replicated: bool,
}

/// A publish without an answer.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) publish: Publish,
    pub(crate) replier: Replier,
    /// The position with which the message came back, before its answer.
    pub(crate) seen: Option<TopicPosition>,
    /// True when that does not count as an answer, as replicas must have the message too.
    replicated: bool,
    /// The connections of this node that it reached.
    pub(crate) reached: usize,
    state: State,
    attempts: u32,
}

/// The recipient of the outcome of a publish.
#[derive(Debug, Clone)]
pub(crate) enum Replier {
    /// A publisher that wants no answer, or is gone.
    Nobody,
    /// A client.
    Client(ConnId, OwnedAddress),
    /// A backend: the host takes the answer.
    Backend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sent,
    Waiting,
    InDoubt,
}

impl Pending {
    /// The position with which the message came back, if that counts as an answer.
    pub(crate) fn placed(&self) -> Option<&TopicPosition> {
        self.seen.as_ref().filter(|_| !self.replicated)
    }
}

impl Publishes {
    /// Publishes without an answer, at most.
    const PENDING_MAX: usize = 65_536;
    /// Bytes of their messages, at most.
    const BYTES_MAX: usize = 64 << 20;
    /// The number of attempts to send each: a host reports a failed attempt within half a second.
    const ATTEMPTS_MAX: u32 = 2;

    /// No publishes, for a relay that answers when it has one, or when replicas have it too.
    pub(crate) fn new(replicated: bool) -> Self {
        Self {
            replicated,
            ..Self::default()
        }
    }

    /// True when the relay is too far behind to take more.
    pub(crate) fn are_full(&self) -> bool {
        self.pending.len() >= Self::PENDING_MAX || self.bytes >= Self::BYTES_MAX
    }

    /// Adds a publish; returns it when it is to be sent at once.
    pub(crate) fn add(&mut self, publish: Publish, replier: Replier) -> Option<Publish> {
        let sends = !self.stalled;
        self.bytes += publish.body.len();
        self.sent += usize::from(sends);
        let to_send = sends.then(|| publish.clone());
        let pending = Pending {
            replier,
            seen: None,
            replicated: self.replicated,
            reached: 0,
            state: if sends { State::Sent } else { State::Waiting },
            attempts: u32::from(sends),
            publish,
        };
        self.pending.insert(pending.publish.token, pending);
        to_send
    }

    pub(crate) fn get_mut(&mut self, token: u64) -> Option<&mut Pending> {
        self.pending.get_mut(&token)
    }

    /// Takes a publish that was answered.
    pub(crate) fn take(&mut self, token: u64) -> Option<Pending> {
        let pending = self.pending.remove(&token)?;
        self.bytes -= pending.publish.body.len();
        self.sent -= usize::from(pending.state == State::Sent);
        Some(pending)
    }

    /// Marks a publish that was not answered in time as in doubt. Returns it when nothing more is
    /// to be done: it came back already, or has used all attempts.
    pub(crate) fn doubt(&mut self, token: u64) -> Option<Pending> {
        let pending = self.pending.get_mut(&token)?;
        if pending.state != State::Sent {
            return None;
        }
        self.stalled = true;
        pending.state = State::InDoubt;
        self.sent -= 1;
        let ends = pending.placed().is_some() || pending.attempts >= Self::ATTEMPTS_MAX;
        if ends { self.take(token) } else { None }
    }

    /// The publishes to send, oldest first: all of them, once no sent publish is without an answer.
    pub(crate) fn resume(&mut self) -> Vec<Publish> {
        if !self.stalled || self.sent > 0 {
            return Vec::new();
        }
        self.stalled = false;
        self.sent = self.pending.len();
        let pending = self.pending.values_mut();
        let send = |pending: &mut Pending| {
            pending.state = State::Sent;
            pending.attempts += 1;
            pending.publish.clone()
        };
        pending.map(send).collect()
    }

    /// Takes all publishes, as the relay is down.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        let none = Self::new(self.replicated);
        core::mem::replace(self, none).pending.into_values()
    }

    /// The number of all publishes: sent, waiting and in doubt.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn assert_consistent(&self) {
        let sent = self.pending.values();
        let sent = sent.filter(|pending| pending.state == State::Sent).count();
        assert_eq!(sent, self.sent, "publishes that were sent");
        let bytes = self.pending.values().map(|it| it.publish.body.len());
        assert_eq!(bytes.sum::<usize>(), self.bytes, "bytes of publishes");
        assert!(self.stalled || sent == self.pending.len(), "one that waits");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::topic::Topic;

    fn publish(token: u64) -> Publish {
        Publish {
            token,
            topic: Topic::room("r"),
            key: "k".into(),
            owner: None,
            fingerprint: 0,
            key_ms: 1,
            keep: None,
            body: [0; 8].into(),
        }
    }

    fn tokens(publishes: &[Publish]) -> Vec<u64> {
        publishes.iter().map(|publish| publish.token).collect()
    }

    #[test]
    fn what_is_in_doubt_is_sent_again_before_all_that_is_later() {
        let mut all = Publishes::default();
        for token in 1..=3 {
            assert!(all.add(publish(token), Replier::Nobody).is_some());
        }
        assert!(all.doubt(1).is_none());
        assert!(all.add(publish(4), Replier::Nobody).is_none());
        assert!(all.resume().is_empty(), "two are still to be answered");
        assert!(all.take(2).is_some() && all.doubt(3).is_none());
        assert_eq!(tokens(&all.resume()), [1, 3, 4]);
        all.assert_consistent();
    }

    #[test]
    fn a_publish_is_tried_twice() {
        let mut all = Publishes::default();
        all.add(publish(1), Replier::Nobody);
        assert!(all.doubt(1).is_none());
        assert_eq!(tokens(&all.resume()), [1]);
        assert!(all.doubt(1).is_some());
        assert_eq!(all.len(), 0);
        all.assert_consistent();
    }

    #[test]
    fn one_that_came_back_is_in_no_doubt() {
        let mut all = Publishes::default();
        all.add(publish(1), Replier::Nobody);
        all.get_mut(1).expect("it is there").seen = Some(TopicPosition::new("e", 1));
        assert!(all.doubt(1).is_some());
    }
}

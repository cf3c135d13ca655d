//! The position of one node in one topic.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

use super::{event::TopicPage, publishes::Replier, roster::Roster, topic::TopicPosition};
use crate::{room::pending_read::PendingRead, time::Timestamp, wire::ConnId};

/// A topic that the node takes part in.
///
/// It is *live* while it knows its position and the next message is the next offset. Otherwise the
/// relay was asked for a page, and messages that come are held back until that is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    /// The position up to which members have everything, or were told of a gap.
    position: Option<TopicPosition>,
    state: State,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// True when the page that is awaited will not do: messages behind it were not held.
    asks_again: bool,
    /// Joins that wait for the position.
    joins: Vec<PendingRead>,
    acks: Vec<Ack>,
    /// Joins that wait for what they missed, while all that is delivered is kept in `recent`.
    recoveries: usize,
    recent: VecDeque<(u64, Box<[u8]>)>,
    recent_bytes: usize,
    /// The time at which the node stops following the topic, if it has no members by then.
    idle_until: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    /// Users on all nodes, where the room shows them.
    roster: Option<Box<Roster>>,
    /// The time at which this node's users are sent to the relay again.
    reconcile_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The relay was not asked.
    #[default]
    Offline,
    /// The relay was asked for a page, by a command of this token.
    Asking(u64),
    Live,
}

/// A message that is held back.
#[derive(Debug, Clone)]
struct Held {
    epoch: Box<str>,
    offset: u64,
    body: Box<[u8]>,
    /// The command that was in flight when it arrived.
    during: Option<u64>,
}

/// A publish that has its position, and is answered once its node has reached that.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub(crate) token: u64,
    pub(crate) replier: Replier,
    /// The key under which a repetition gets the same answer.
    pub(crate) key: Option<Box<str>>,
    pub(crate) position: TopicPosition,
    pub(crate) reached: usize,
    /// The time at which it is answered in any case.
    pub(crate) until: Timestamp,
}

/// The result of taking a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The next message.
    Next,
    /// A message that was there before, or is of a topic that is not followed.
    Duplicate,
    /// A message that is held back.
    Held,
    /// A message that is held back; the relay has to be asked for the messages before it.
    Ask,
}

/// An effect for the members.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Tell them that messages behind this offset are lost.
    Gap { after: u64 },
    /// Deliver a message.
    Deliver { offset: u64, body: Box<[u8]> },
}

impl Track {
    /// The time for which a topic without members is still followed.
    pub(crate) const LINGER: Duration = Duration::from_secs(5);
    /// The time after which the relay is asked again when it failed to answer.
    pub(crate) const RETRY: Duration = Duration::from_secs(1);
    /// The time for which a publish that has its place waits until the node is there.
    pub(crate) const ACK_WAIT: Duration = Duration::from_secs(1);
    /// The time after which this node's users are sent to the relay again, which repairs what the
    /// relay lost in a failover or applied too late.
    pub(crate) const RECONCILE: Duration = Duration::from_secs(60);
    /// Bytes of the messages that are held back, or kept for joins.
    const HELD_BYTES_MAX: usize = 1 << 20;
    /// The number of these messages.
    const HELD_MAX: usize = 4_096;

    pub(crate) const fn position(&self) -> Option<&TopicPosition> {
        self.position.as_ref()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.state == State::Offline
    }

    /// True when the page of a command is awaited.
    pub(crate) fn awaits(&self, token: u64) -> bool {
        self.state == State::Asking(token)
    }

    /// The relay is asked for a page.
    pub(crate) const fn ask(&mut self, token: u64) {
        self.state = State::Asking(token);
        self.retry_at = None;
    }

    /// The relay cannot be asked: what was held back is asked for later.
    pub(crate) fn go_offline(&mut self, retry_at: Option<Timestamp>) {
        self.state = State::Offline;
        self.retry_at = retry_at;
        self.drop_held();
        self.asks_again = false;
        self.drop_recent();
        if let Some(roster) = &mut self.roster {
            roster.go_offline();
        }
    }

    pub(crate) fn roster(&self) -> Option<&Roster> {
        self.roster.as_deref()
    }

    pub(crate) fn roster_mut(&mut self) -> Option<&mut Roster> {
        self.roster.as_deref_mut()
    }

    /// Starts or stops following the users of the room.
    pub(crate) fn show_users(&mut self, shows: bool) {
        if !shows {
            (self.roster, self.reconcile_at) = (None, None);
        } else if self.roster.is_none() {
            self.roster = Some(Box::default());
        }
    }

    /// Schedules sending this node's users again at this time, if that is earlier than planned.
    pub(crate) fn reconcile_by(&mut self, at: Timestamp) {
        self.reconcile_at = Some(self.reconcile_at.map_or(at, |planned| planned.min(at)));
    }

    /// Returns true once when this node's users are due to be sent to the relay again.
    pub(crate) fn takes_reconcile(&mut self, now: Timestamp) -> bool {
        self.reconcile_at.take_if(|at| *at <= now).is_some()
    }

    fn drop_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    fn drop_recent(&mut self) {
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// Takes a message that came by the subscription.
    pub(crate) fn take_message(&mut self, epoch: &str, offset: u64, body: &[u8]) -> Taken {
        let during = match self.state {
            State::Offline => return Taken::Duplicate,
            State::Asking(token) => Some(token),
            State::Live => match &mut self.position {
                Some(at) if *at.epoch == *epoch && offset <= at.offset => return Taken::Duplicate,
                Some(at) if *at.epoch == *epoch && offset == at.offset + 1 => {
                    at.offset = offset;
                    return Taken::Next;
                }
                _ => None,
            },
        };
        let bytes = self.held_bytes + body.len();
        if bytes > Self::HELD_BYTES_MAX || self.held.len() >= Self::HELD_MAX {
            self.drop_held();
            self.asks_again = true;
        } else {
            self.held_bytes = bytes;
            self.held.push_back(Held {
                epoch: epoch.into(),
                offset,
                body: body.into(),
                during,
            });
        }
        if during.is_some() {
            Taken::Held
        } else {
            Taken::Ask
        }
    }

    /// Takes the page that was asked for. What was held back behind it is left to
    /// [`take_held`](Self::take_held), after the answers of joins that waited for the position.
    pub(crate) fn take_page(&mut self, page: &TopicPage) -> Vec<Effect> {
        self.state = State::Live;
        let mut effects = Vec::new();
        let top = &page.position;
        match &mut self.position {
            None => {
                // For members that an application put in, whose joins did not wait for the
                // position.
                effects.push(Effect::Gap { after: top.offset });
                self.position = Some(top.clone());
            }
            Some(at) if at.epoch != top.epoch => {
                effects.push(Effect::Gap { after: at.offset });
                *at = top.clone();
                self.drop_recent();
            }
            Some(at) => {
                // The relay need not have kept them.
                deliver_held(at, &self.held, top, &mut effects);
                let before = at.offset;
                let last = page.messages.last().map(|last| last.offset);
                advance(at, page, &mut effects);
                let top = page.position.offset;
                // A page that ends below the top was cut off: the rest is still at the relay.
                if at.offset < top && at.offset > before && last < Some(top) {
                    self.asks_again = true;
                } else if at.offset != top {
                    let after = at.offset.min(top);
                    effects.push(Effect::Gap { after });
                    at.offset = top;
                }
            }
        }
        effects
    }

    /// Takes the messages that were held back, behind the page of a command. True is returned when
    /// the relay has to be asked again.
    pub(crate) fn take_held(&mut self, token: u64) -> (Vec<Effect>, bool) {
        let mut effects = Vec::new();
        let mut again = core::mem::take(&mut self.asks_again);
        let Some(at) = &mut self.position else {
            return (effects, again);
        };
        let (mut kept, mut kept_bytes) = (VecDeque::new(), 0);
        self.held_bytes = 0;
        for held in core::mem::take(&mut self.held) {
            if held.epoch == at.epoch {
                if held.offset <= at.offset {
                    continue;
                }
                if held.offset == at.offset + 1 {
                    at.offset = held.offset;
                    let (offset, body) = (held.offset, held.body);
                    effects.push(Effect::Deliver { offset, body });
                    continue;
                }
            } else if held.during != Some(token) {
                // It came before the page was asked for, whose epoch is therefore newer.
                continue;
            }
            again = true;
            kept_bytes += held.body.len();
            kept.push_back(held);
        }
        (self.held, self.held_bytes) = (kept, kept_bytes);
        (effects, again)
    }

    /// Takes the part of a page, read for somebody else, that the node does not have yet.
    pub(crate) fn take_ahead(&mut self, page: &TopicPage) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(at) = &mut self.position
            && self.state == State::Live
            && at.epoch == page.position.epoch
        {
            let next = at.offset + 1;
            let ahead = page.messages.iter().find(|it| it.offset > at.offset);
            if ahead.is_some_and(|ahead| ahead.offset == next) {
                advance(at, page, &mut effects);
            }
        }
        effects
    }

    /// Remembers a message that was delivered, for joins that wait for what they missed.
    pub(crate) fn remember(&mut self, offset: u64, body: &[u8]) {
        if self.recoveries == 0 {
            return;
        }
        self.recent_bytes += body.len();
        self.recent.push_back((offset, body.into()));
        if self.recent_bytes > Self::HELD_BYTES_MAX || self.recent.len() > Self::HELD_MAX {
            self.drop_recent();
        }
    }

    /// Messages that were delivered since the earliest join that still waits.
    pub(crate) fn recent(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.recent.iter().map(|(offset, body)| (*offset, &**body))
    }

    /// True while joins wait for what they missed.
    pub(crate) const fn recovers(&self) -> bool {
        self.recoveries > 0
    }

    /// Notes that a join waits for what it missed.
    pub(crate) const fn begin_recovery(&mut self) {
        self.recoveries += 1;
    }

    pub(crate) fn end_recovery(&mut self) {
        self.recoveries = self.recoveries.saturating_sub(1);
        if self.recoveries == 0 {
            self.drop_recent();
        }
    }
}

/// Moves a position over the messages of a page that lie above it; effects are the messages and the
/// gaps between them.
fn advance(at: &mut TopicPosition, page: &TopicPage, effects: &mut Vec<Effect>) {
    for message in &page.messages {
        let offset = message.offset;
        if offset <= at.offset {
            continue;
        }
        if offset > at.offset + 1 {
            effects.push(Effect::Gap { after: at.offset });
        }
        at.offset = offset;
        let body = message.body.clone();
        effects.push(Effect::Deliver { offset, body });
    }
}

/// Moves a position over the next messages that were held back, up to another one of its epoch.
fn deliver_held(
    at: &mut TopicPosition,
    held: &VecDeque<Held>,
    top: &TopicPosition,
    effects: &mut Vec<Effect>,
) {
    for held in held.iter().filter(|held| held.epoch == at.epoch) {
        if held.offset == at.offset + 1 && held.offset <= top.offset {
            at.offset = held.offset;
            let (offset, body) = (held.offset, held.body.clone());
            effects.push(Effect::Deliver { offset, body });
        }
    }
}

/// Requests that wait for the topic, and its time.
impl Track {
    pub(crate) fn push_join(&mut self, request: PendingRead) {
        self.joins.push(request);
    }

    pub(crate) fn joins(&self) -> usize {
        self.joins.len()
    }

    pub(crate) fn take_joins(&mut self) -> Vec<PendingRead> {
        core::mem::take(&mut self.joins)
    }

    /// Takes the joins of a connection.
    pub(crate) fn end_joins(&mut self, conn: ConnId) -> Vec<PendingRead> {
        self.joins
            .extract_if(.., |join| join.conn == conn)
            .collect()
    }

    pub(crate) fn push_ack(&mut self, ack: Ack) {
        self.acks.push(ack);
    }

    /// The acknowledgement of a publish that is still held back.
    pub(crate) fn ack_mut(&mut self, token: u64) -> Option<&mut Ack> {
        self.acks.iter_mut().find(|ack| ack.token == token)
    }

    /// Takes the acknowledgements of messages that the node has passed.
    pub(crate) fn take_acks(&mut self) -> Vec<Ack> {
        let Some(at) = self.position.as_ref().filter(|_| !self.acks.is_empty()) else {
            return Vec::new();
        };
        let is_past =
            |ack: &mut Ack| ack.position.epoch == at.epoch && ack.position.offset <= at.offset;
        self.acks.extract_if(.., is_past).collect()
    }

    /// Takes the acknowledgements that waited for long enough.
    pub(crate) fn expire_acks(&mut self, now: Timestamp) -> Vec<Ack> {
        self.acks.extract_if(.., |ack| ack.until <= now).collect()
    }

    /// Sets when an unused topic is dropped; `None` when it is used again.
    pub(crate) fn set_idle_until(&mut self, idle_until: Option<Timestamp>) {
        self.idle_until = idle_until.map(|until| self.idle_until.unwrap_or(until));
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.idle_until.is_some_and(|until| until <= now)
    }

    /// True once when the relay is to be asked again.
    pub(crate) fn takes_retry(&mut self, now: Timestamp) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// The time at which there is something to do.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let acks = self.acks.iter().map(|ack| ack.until);
        let times = acks.chain(self.idle_until).chain(self.retry_at);
        let roster = self.roster.as_deref().and_then(Roster::absent_until);
        times.chain(self.reconcile_at).chain(roster).min()
    }
}

#[cfg(test)]
mod tests;

//! Checks of the invariants that hold after every step.

use roomcast_core::policy::PresencePolicy;
use roomcast_tests::Op;

use super::{scene::LISTED, truth::LIST_MAX, world::World};

/// The notices of gaps that a queue takes above its limits: one for each room that drops messages.
const GAPS: usize = 2;
/// More bytes than a notice of a gap or a goodbye has.
const FRAME_BYTES: usize = 300;

impl World {
    /// `closed` connections were ended as too slow in this step.
    pub(crate) fn check(&mut self, op: &Op, closed: usize) {
        // I1 to I3, and that the hub's counters are right.
        self.core.assert_consistent();
        self.i26_work_is_bounded(op, closed);
        self.i20_i22_queues_are_bounded();
        for client in &mut self.clients {
            if let Some(link) = client.link.as_mut().filter(|link| !link.stalled) {
                link.i13_i24_nothing_is_missing(&client.actor);
                assert!(!link.ended, "I25: {} was closed and not told", client.actor);
            }
        }
        self.i10_i11_members();
        self.i29_histories();
        self.i36_lists();
    }

    /// Faults stopped, and everybody asked: all lists are there, and the same.
    pub(crate) fn i39_everybody_knows_the_same(&self) {
        self.i36_lists();
        for client in &self.clients {
            for name in LISTED {
                let room = &self.truth.rooms[name];
                let view = client.views.get(name);
                let known = view.is_some_and(|view| view.member && view.list.is_some());
                assert!(
                    known || room.users().len() > LIST_MAX,
                    "I39: {} does not know who is in {name}",
                    client.actor
                );
            }
        }
    }

    fn i26_work_is_bounded(&self, op: &Op, closed: usize) {
        let rooms = self.truth.rooms.len();
        // What a departure tells, in each room.
        let departure = rooms + 2;
        // A timeout may be about everybody.
        let departures = if matches!(op, Op::Wait { .. }) {
            self.clients.len()
        } else {
            2
        };
        // An answer, and what was missed.
        let missed = 16 * usize::from(matches!(op, Op::Text { .. }));
        let most = (departures + closed) * departure + missed;
        let count = self.core.commands().len();
        assert!(count <= most, "I26: {op} led to {count} commands");
    }

    fn i20_i22_queues_are_bounded(&self) {
        let limits = self.queues.with_reserve();
        let (mut sum, mut most) = (0, 0);
        for client in &self.clients {
            let Some(queue) = self.core.queue(&client.actor) else {
                continue;
            };
            let (bytes, frames) = (queue.bytes(), queue.frames());
            let counted: usize = queue.chunks().map(<[u8]>::len).sum();
            assert_eq!(bytes, counted, "I20: the bytes of {}", client.actor);
            // The goodbye goes behind everything.
            let ended = client.link.as_ref().is_none_or(|link| link.ended);
            let extra = GAPS + 2 * usize::from(ended);
            let bytes_max = limits.bytes_max + extra * FRAME_BYTES;
            assert!(
                bytes <= bytes_max || queue.only().is_some(),
                "I20: {bytes} bytes wait for {}",
                client.actor
            );
            assert!(
                frames <= limits.frames_max + extra,
                "I20: {frames} frames wait for {}",
                client.actor
            );
            (sum, most) = (sum + bytes, most + bytes_max);
        }
        assert!(sum <= most, "I22: {sum} bytes wait");
        let hub = self.core.hub("default");
        let histories = hub.map_or(0, |hub| hub.counts().history_bytes);
        let limit = hub.map_or(0, |hub| hub.limits().history_bytes);
        assert!(histories <= limit, "I22: histories take {histories} bytes");
    }

    /// Recipients of a message are the clients that joined, and have not left.
    fn i10_i11_members(&self) {
        let Some(hub) = self.core.hub("default") else {
            return;
        };
        for (name, room) in &self.truth.rooms {
            let members = hub.members(name).iter().map(|id| id.as_u64());
            assert!(
                members.eq(room.members.keys().copied()),
                "I10, I11, I38: the members of {name} are {:?}, not {:?}",
                hub.members(name),
                room.members
            );
        }
    }

    fn i29_histories(&mut self) {
        let Some(hub) = self.core.hub("default") else {
            return;
        };
        let names: Vec<_> = self.truth.rooms.keys().copied().collect();
        for name in names {
            let room = &self.truth.rooms[name];
            let Some(history) = room.policy.as_ref().and_then(|policy| policy.history) else {
                continue;
            };
            let position = hub.position(name);
            if room.epoch.is_some() {
                let (epoch, offset) = (position.epoch.into_owned(), position.offset);
                self.truth.i28_i32_position(name, &epoch, offset);
            }
            let room = &self.truth.rooms[name];
            let Some(page) = hub.history(name, None, None, 100) else {
                assert!(room.epoch.is_none(), "I32: {name} was forgotten");
                continue;
            };
            assert!(
                room.epoch.is_some(),
                "I32: {name} was not forgotten in time"
            );
            assert!(
                page.len() <= history.messages,
                "I29: {} messages",
                page.len()
            );
            let bytes: usize = page.iter().map(|frame| frame.len()).sum();
            assert!(bytes <= history.bytes, "I29: {bytes} bytes in {name}");
            if hub.is_away(name) {
                continue;
            }
            let kept = room.kept(self.truth.now).len();
            assert!(page.len() >= kept, "I29: {name} lacks messages of {kept}");
            let tail = &room.log[room.log.len().saturating_sub(page.len())..];
            assert_eq!(tail.len(), page.len(), "I29: {name} has messages too many");
            for (frame, entry) in page.iter().zip(tail) {
                assert_eq!(*frame, entry.frame, "I29: in {name} at {}", entry.offset);
            }
        }
    }

    /// Presence lists that clients build from a snapshot and events are the truth.
    fn i36_lists(&self) {
        for client in &self.clients {
            if client.link.as_ref().is_none_or(|link| link.stalled) {
                continue;
            }
            for (name, view) in &client.views {
                let room = &self.truth.rooms[&**name];
                let listed = room.presence() == PresencePolicy::Members;
                if let Some(list) = view.list.as_ref().filter(|_| view.member && listed) {
                    assert_eq!(
                        *list,
                        room.users(),
                        "I35, I36, I37: who {} thinks is in {name}",
                        client.actor
                    );
                }
            }
        }
    }
}

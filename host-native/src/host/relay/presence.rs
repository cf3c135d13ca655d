//! Translation of presence commands of a hub to calls of the relay, and of the relay's notices to
//! events.

use std::{cell::Cell, str, sync::Arc, time::Duration};

use bytes::Bytes;
use roomcast_core::relay::{Notice, PresenceChange, PresentUser, RelayEvent, RoomUsers};
use roomcast_relay::{Address, Change, Channel, Corrections, Event, Presence, Relay, RelayError};
use tokio::time::{Instant, sleep_until};

/// The time that a list is charged for each user. The relay needs about a tenth of it, so lists
/// take at most a tenth of the relay's time, however many are requested.
const USER: Duration = Duration::from_micros(10);
/// The burst: the charged time may be ahead of the clock by this much.
const AHEAD: Duration = Duration::from_millis(20);

/// The rate limit for lists of users on a node.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The time up to which lists are charged.
    until: Cell<Option<Instant>>,
}

impl Pace {
    /// Starts a list when its turn has come, and returns its outcome.
    pub(super) async fn keep(&self, list: impl Future<Output = RelayEvent>) -> RelayEvent {
        self.wait().await;
        let event = list.await;
        self.count(&event);
        event
    }

    /// Waits until a list may start.
    async fn wait(&self) {
        while let Some(until) = self.until.get()
            && until > Instant::now() + AHEAD
        {
            sleep_until(until - AHEAD).await;
        }
    }

    /// Charges for the users of a list.
    fn count(&self, event: &RelayEvent) {
        if let RelayEvent::Users { page, .. } = event {
            let now = Instant::now();
            let from = self.until.get().map_or(now, |until| until.max(now));
            let users = u32::try_from(page.users.len()).unwrap_or(u32::MAX);
            self.until.set(Some(from + USER * users));
        }
    }
}

/// Sets the number of connections of a user in a room. Without an answer the outcome is unknown:
/// the hub sets it again.
pub(super) async fn set(
    relay: &impl Relay,
    namespace: &Arc<str>,
    token: u64,
    room: &str,
    user: PresentUser,
) -> RelayEvent {
    let address = Address::room(namespace.clone(), room);
    let presence = presence(&address, user);
    match relay.set_present(&presence).await {
        Ok(arrival) => {
            let of_change = |text: &str| arrival.change.map(|_| text.into()).unwrap_or_default();
            RelayEvent::Present {
                token,
                change: arrival.change.map(change_of),
                room: of_change(room),
                name: of_change(&presence.user),
            }
        }
        Err(fault) => failed(token, &address, &fault),
    }
}

/// Replaces the users that the relay has for this node in a room.
pub(super) async fn reconcile(
    relay: &impl Relay,
    namespace: &Arc<str>,
    token: u64,
    room: &str,
    users: Vec<PresentUser>,
) -> RelayEvent {
    let address = Address::room(namespace.clone(), room);
    let users = users.into_iter().map(|user| presence(&address, user));
    let users: Vec<_> = users.collect();
    match relay.reconcile(&address, &users).await {
        Ok(Corrections { count, changes }) => {
            if count > 0 {
                tracing::debug!(%address, count, "the relay had other users of this node");
            }
            let changes = changes.into_iter();
            let changes: Vec<_> = changes.map(|(user, it)| (user, change_of(it))).collect();
            // The event names the room only when there are changes.
            let room = if changes.is_empty() { "" } else { room };
            RelayEvent::Reconciled {
                token,
                room: room.into(),
                changes,
            }
        }
        Err(fault) => failed(token, &address, &fault),
    }
}

/// Lists the users of a room on all nodes.
pub(super) async fn list(
    relay: &impl Relay,
    namespace: &Arc<str>,
    token: u64,
    room: Box<str>,
    limit: usize,
) -> RelayEvent {
    let address = Address::room(namespace.clone(), &*room);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let members = match relay.members(&address, limit).await {
        Ok(members) => members,
        Err(fault) => return failed(token, &address, &fault),
    };
    let users = members.users.into_iter().map(|member| PresentUser {
        name: member.user,
        conns: member.connections,
        waits: false,
        meta: text(&member.meta),
    });
    let page = RoomUsers {
        room,
        epoch: (*members.epoch).into(),
        number: members.notice,
        total: usize::try_from(members.total).unwrap_or(usize::MAX),
        conns: usize::try_from(members.connections).unwrap_or(usize::MAX),
        users: users.collect(),
    };
    RelayEvent::Users { token, page }
}

/// The notice of a presence event, with its namespace.
#[allow(clippy::wildcard_enum_match_arm)] // the others are no notices
pub(super) fn notice(event: Event) -> Option<(Arc<str>, RelayEvent)> {
    match event {
        Event::Presence {
            address,
            epoch,
            notice,
            change,
            user,
            meta,
        } => {
            let Channel::Room(room) = address.channel else {
                return None;
            };
            let notice = Notice {
                room: (*room).into(),
                epoch,
                number: notice,
                change: change_of(change),
                name: user,
                meta: text(&meta),
            };
            Some((address.namespace, RelayEvent::Notice(notice)))
        }
        _ => None,
    }
}

fn presence(address: &Address, user: PresentUser) -> Presence {
    Presence {
        address: address.clone(),
        user: user.name,
        connections: u32::try_from(user.conns).unwrap_or(u32::MAX),
        is_awaited: user.waits,
        meta: user.meta.map_or_else(Bytes::new, |meta| {
            Bytes::from(meta.into_string().into_bytes())
        }),
    }
}

const fn change_of(change: Change) -> PresenceChange {
    match change {
        Change::Joined => PresenceChange::Joined,
        Change::Left => PresenceChange::Left,
    }
}

/// The metadata of a user, which others see, if there is any.
fn text(meta: &Bytes) -> Option<Box<str>> {
    let text = str::from_utf8(meta).ok();
    text.filter(|text| !text.is_empty()).map(Into::into)
}

fn failed(token: u64, address: &Address, fault: &RelayError) -> RelayEvent {
    tracing::debug!(%fault, %address, "the relay did not say or take who is in a room");
    RelayEvent::Failed { token }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn users(count: usize) -> RelayEvent {
        let user = PresentUser {
            name: "uann".into(),
            conns: 1,
            waits: false,
            meta: None,
        };
        let page = RoomUsers {
            room: "r".into(),
            epoch: "e".into(),
            number: 1,
            total: count,
            conns: count,
            users: vec![user; count],
        };
        RelayEvent::Users { token: 1, page }
    }

    #[tokio::test]
    async fn lists_take_their_time_by_the_users_in_them() {
        let (pace, began) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            assert!(
                pace.wait().now_or_never().is_some(),
                "small lists do not wait"
            );
            pace.count(&users(10));
        }
        for _ in 0..20 {
            pace.wait().await;
            pace.count(&users(1_000));
        }
        assert!(began.elapsed() >= USER * 19_000 - AHEAD);
        // So far ahead that this thread may stand still before it looks.
        let full = users(1_000);
        (0..1_000).for_each(|_| pace.count(&full));
        assert!(pace.wait().now_or_never().is_none(), "others wait");
        pace.until.set(Some(Instant::now()));
        pace.wait().await;
        pace.count(&users(0));
        assert!(
            pace.wait().now_or_never().is_some(),
            "counts alone take no time"
        );
    }
}

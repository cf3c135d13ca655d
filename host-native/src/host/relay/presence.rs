//! Users of rooms: commands of a hub as calls of the relay, and notices of the relay as events.

use std::{str, sync::Arc};

use bytes::Bytes;
use roomcast_core::relay::{Notice, PresenceChange, PresentUser, RelayEvent, RoomUsers};
use roomcast_relay::{Address, Change, Channel, Event, Presence, Relay, RelayError};

/// Sets the connections of a user in a room. Without an answer it may be set or not: the hub sets
/// it again.
pub(super) async fn set(
    relay: &impl Relay,
    namespace: &Arc<str>,
    token: u64,
    room: &str,
    user: PresentUser,
) -> RelayEvent {
    let address = Address::room(namespace.clone(), room);
    match relay.set_present(&presence(&address, user)).await {
        Ok(arrival) => RelayEvent::Present {
            token,
            change: arrival.change.map(change_of),
        },
        Err(fault) => failed(token, &address, &fault),
    }
}

/// Makes the users that the relay has of this node in a room those given.
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
        Ok(corrections) => {
            if corrections > 0 {
                tracing::debug!(%address, corrections, "the relay had other users of this node");
            }
            RelayEvent::Reconciled { token }
        }
        Err(fault) => failed(token, &address, &fault),
    }
}

/// Lists users of a room on all nodes.
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

/// The notice of an event that is about one user, with its namespace.
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
                epoch: (*epoch).into(),
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

/// Data that others see with a user, if there is any.
fn text(meta: &Bytes) -> Option<Box<str>> {
    let text = str::from_utf8(meta).ok();
    text.filter(|text| !text.is_empty()).map(Into::into)
}

fn failed(token: u64, address: &Address, fault: &RelayError) -> RelayEvent {
    tracing::debug!(%fault, %address, "the relay did not say or take who is in a room");
    RelayEvent::Failed { token }
}

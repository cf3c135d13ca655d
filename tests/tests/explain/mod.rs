//! Explanations are true, for each send before it happens, and for each message of a history
//! afterwards.

#![allow(clippy::wildcard_enum_match_arm)] // every other reason claims something

mod granted;
mod planted;
mod served;
mod slow;

use std::collections::BTreeSet;

use proptest::prelude::*;
use roomcast_core::{ConnId, Explained, Explanation, Hub, explain::Reason};
use roomcast_tests::{Actor, Cast, Core, Driver, Lockstep, Op, Settings, Sleep};
use serde_json::Value;

use crate::stories::config;

const ACTORS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const ROOMS: [&str; 4] = ["log", "den", "live", "stage"];

/// The function under test: `Hub::explain`, or a variant with a mistake.
type Explain<'e> = &'e dyn Fn(&Hub, &Explained, ConnId) -> Explanation;

fn cast() -> Cast {
    Cast::new(ACTORS, ROOMS)
        .with_users(["ann", "ben"])
        .with_histories()
        .with_time()
}

/// Each room with another policy; `stage` is for the application to speak in.
fn settings() -> Settings {
    let settings: Settings = "rooms_per_connection=3".parse().expect("known settings");
    let rooms = "log history.messages=4 history.age_s=20\n\
                 den history.age_s=10 presence=members presence_grace_s=5 echo=true\n\
                 live history.messages=3 overflow=drop-oldest\n\
                 sta* publish=false";
    settings.with_rooms(rooms).expect("policies")
}

/// A story in which each message to be explained has another payload, which is JSON for all.
fn numbered(mut story: Vec<Op>) -> Vec<Op> {
    for (number, op) in (0_u32..).zip(&mut story) {
        if let Op::Publish { data, .. } | Op::Send { data, .. } = op {
            *data = format!(r#""m{number}""#).into();
        }
        if let Op::Send { key, .. } = op {
            *key = None;
        }
    }
    story
}

type World = Lockstep<Core>;

fn world(sleep: Sleep) -> World {
    let settings = settings();
    let core = settings.core().with_sleep(sleep);
    Lockstep::new(core, &settings.limits()).with_policies(&settings.policies())
}

/// The last connection of an actor, dead or alive.
fn conn(core: &Core, actor: &Actor) -> Option<ConnId> {
    core.conn(actor)?.parse().ok()
}

/// The send that an op is, if it is one.
fn send_of(core: &Core, op: &Op) -> Option<(Explained, String)> {
    if let Op::Send { to, data, .. } = op {
        let audience = to.audience(|actor| conn(core, actor));
        Some((audience.into(), data.to_string()))
    } else if let Op::Publish {
        actor,
        room,
        echo,
        data,
        ..
    } = op
    {
        let publish = Explained::Publish {
            from: conn(core, actor)?,
            room: room.to_string(),
            echo: echo.then_some(true),
        };
        Some((publish, data.to_string()))
    } else {
        None
    }
}

/// Checks that the recipients explained before each send are exactly those that then receive it.
fn check_sends(story: &[Op], explain: Explain<'_>) -> Result<(), TestCaseError> {
    let mut world = world(Sleep::Never);
    for op in story {
        let send = send_of(world.driver(), op);
        let hub = world.driver().hub("default");
        let explained: Vec<_> = match (&send, hub) {
            (Some((send, _)), Some(hub)) => {
                let actors = ACTORS.map(Actor::new).into_iter();
                let conns = actors.filter_map(|actor| Some((conn(world.driver(), &actor)?, actor)));
                conns
                    .map(|(conn, actor)| (explain(hub, send, conn), actor))
                    .collect()
            }
            _ => Vec::new(),
        };
        let seen = world.perform(op)?;
        let Some((_, data)) = send else { continue };
        let told = format!(r#","data":{data}}}"#);
        for (Explanation { reason, .. }, actor) in explained {
            let got = seen
                .frames()
                .any(|(to, text)| *to == actor && text.ends_with(&told));
            prop_assert_eq!(
                reason.received(),
                Some(got),
                "{} {:?}: {}",
                actor,
                reason,
                world.story().join("\n")
            );
        }
    }
    Ok(())
}

/// Messages of histories that connections were sent, live, by recovery or in a page: the room, the
/// epoch, the offset and the connection.
type Delivered = BTreeSet<(String, String, u64, ConnId)>;

/// Remembers the messages that somebody was sent.
fn deliver<'f>(
    core: &Core,
    frames: impl Iterator<Item = (&'f Actor, &'f str)>,
    delivered: &mut Delivered,
) {
    let Some(hub) = core.hub("default") else {
        return;
    };
    for (actor, text) in frames {
        let frame: Value = serde_json::from_str(text).expect("JSON");
        let Some(room) = frame["room"].as_str() else {
            continue;
        };
        let page = frame["data"]["messages"].as_array();
        for message in page.into_iter().flatten().chain([&frame]) {
            if let Some(offset) = message["offset"].as_u64() {
                let epoch = hub.position(room).epoch.into_owned();
                let conn = conn(core, actor).expect("it connected");
                delivered.insert((room.into(), epoch, offset, conn));
            }
        }
    }
}

/// Checks that each explanation of past messages matches the deliveries.
fn check_claims(
    (core, story): (&Core, &[String]),
    delivered: &Delivered,
    conns: &BTreeSet<ConnId>,
    explain: Explain<'_>,
    is_awake: bool,
) -> Result<(), TestCaseError> {
    let Some(hub) = core.hub("default") else {
        return Ok(());
    };
    for room in ROOMS {
        let position = hub.position(room);
        let (epoch, first) = (position.epoch.to_string(), hub.history_first(room));
        for offset in 1..=position.offset {
            for &conn in conns {
                let key = (room.to_owned(), epoch.clone(), offset, conn);
                let was_sent = delivered.contains(&key);
                let reason = explain(hub, &Explained::past(room, offset), conn).reason;
                let is_true = match &reason {
                    Reason::EndedSince | Reason::SentUnlessDropped { .. } => was_sent,
                    Reason::HistoryTrimmed { .. } => first.is_some_and(|first| offset < first),
                    Reason::MembershipUnknown | Reason::HistoryAway => !is_awake,
                    // Also given for messages that the connection received under an earlier
                    // identity.
                    Reason::NamedSince { .. } => true,
                    reason => reason.received() == Some(was_sent),
                };
                prop_assert!(
                    is_true,
                    "{} {} of {}, sent: {}: {:?}\n{}",
                    room,
                    offset,
                    conn,
                    was_sent,
                    reason,
                    story.join("\n")
                );
            }
        }
    }
    Ok(())
}

/// Checks the claims after every op of a story.
fn check_past(story: &[Op], sleep: Sleep, explain: Explain<'_>) -> Result<(), TestCaseError> {
    let mut world = world(sleep);
    let (mut delivered, mut conns) = (Delivered::new(), BTreeSet::new());
    for op in story {
        let seen = world.perform(op)?;
        deliver(world.driver(), seen.frames(), &mut delivered);
        let actors = ACTORS.map(Actor::new);
        conns.extend(
            actors
                .iter()
                .filter_map(|actor| conn(world.driver(), actor)),
        );
        let is_awake = sleep == Sleep::Never;
        let told = (world.driver(), world.story());
        check_claims(told, &delivered, &conns, explain, is_awake)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_send_is_explained_before_it_is_done(story in cast().ops(1..=80).prop_map(numbered)) {
        check_sends(&story, &Hub::explain)?;
    }

    #[test]
    fn past_messages_are_explained_as_they_were_delivered(story in cast().ops(1..=80).prop_map(numbered)) {
        check_past(&story, Sleep::Never, &Hub::explain)?;
    }

    /// A hub that sleeps claims less, and nothing wrong.
    #[test]
    fn a_sleeping_hub_claims_nothing_wrong(story in cast().ops(1..=60).prop_map(numbered)) {
        check_past(&story, Sleep::Saved, &Hub::explain)?;
    }
}

//! The invariants of the design, each under its number, checked from outside after every step of
//! random stories. (I20 to I24 concern queues of sockets, I38 to I42 clusters; the driver checks
//! I25, the rate limiter's tests I27, `simulation` I28 to I37, `journal` I44, `restore` I45.)

use std::collections::BTreeSet;

use proptest::prelude::*;
use roomcast_core::{Hub, Input};
use roomcast_tests::{Actor, Cast, Core, Driver, Event, Limits, Op, Settings};

use crate::{stories::config, watch::Watch};

const ROOMS_MAX: usize = 2;

fn limits() -> Limits {
    let settings: Settings = "rooms_per_connection=2".parse().expect("known settings");
    settings.limits()
}

fn cast() -> Cast {
    Cast::default()
        .with_users(["ann", "ben"])
        .with_raw_texts()
        .with_time()
}

/// Stories in which every message is unique: its payload is its number.
fn stories() -> impl Strategy<Value = Vec<Op>> {
    cast().ops(1..=60).prop_map(|mut story| {
        for (number, op) in (0_u32..).zip(&mut story) {
            if let Op::Publish {
                data, id, event, ..
            } = op
            {
                *event = "said".into();
                *data = number.to_string().into();
                *id = Some(number);
            }
            if let Op::Send { data, key, .. } = op {
                *data = number.to_string().into();
                *key = None;
            }
        }
        story
    })
}

/// A core after a story.
fn told(story: &[Op]) -> Core {
    let mut core = Core::new(&limits());
    for op in story {
        core.perform(op)
            .unwrap_or_else(|fault| panic!("{op}: {fault}"));
    }
    core
}

fn i1_membership_is_symmetric(hub: &Hub) {
    let rooms: Vec<_> = hub.rooms("", None).map(|room| room.name).collect();
    for room in &rooms {
        for &member in hub.members(room) {
            let of = hub.rooms_of(member).expect("I4: a member is live");
            assert!(
                of.contains(room),
                "I1: {member} is in {room} on one side only"
            );
        }
    }
    for conn in hub.connections() {
        for room in hub.rooms_of(conn.id).expect("it is live") {
            assert!(
                hub.members(room).contains(&conn.id),
                "I1: {room} lacks {}",
                conn.id
            );
        }
    }
}

fn i2_counters_equal_a_recount(hub: &Hub) {
    let counts = hub.counts();
    assert_eq!(counts.connections, hub.connections().count(), "I2");
    assert_eq!(counts.rooms, hub.rooms("", None).count(), "I2");
    let memberships: usize = hub.rooms("", None).map(|room| room.members).sum();
    assert_eq!(counts.memberships, memberships, "I2");
    for room in hub.rooms("", None) {
        assert_eq!(
            room.members,
            hub.members(room.name).len(),
            "I2: {}",
            room.name
        );
    }
}

fn i3_no_room_is_empty(hub: &Hub) {
    assert!(hub.rooms("", None).all(|room| room.members > 0), "I3");
}

fn i4_every_member_is_live(hub: &Hub) {
    for room in hub.rooms("", None) {
        let live = hub
            .members(room.name)
            .iter()
            .all(|&member| hub.connection(member).is_some());
        assert!(live, "I4: {}", room.name);
    }
}

fn i9_rooms_never_pass_the_limit(hub: &Hub) {
    for conn in hub.connections() {
        let rooms = hub.rooms_of(conn.id).expect("it is live");
        assert!(rooms.len() <= ROOMS_MAX, "I9: {rooms:?}");
    }
}

/// A fan-out is one command, however wide: the number of commands of an op is bounded.
fn i26_work_is_bounded(core: &Core, op: &Op) {
    if !matches!(op, Op::Wait { .. }) {
        assert!(
            core.commands().len() <= 3,
            "I26: {op} led to {:?}",
            core.commands()
        );
    }
}

/// A repeated timeout changes nothing, early or late: a needless timer is harmless.
fn i43_a_needless_timeout_does_nothing(core: &Core) {
    if let Some(hub) = core.hub("default") {
        let (mut hub, mut out) = (hub.clone(), roomcast_core::Outbox::new());
        let before = hub.next_timeout();
        hub.handle_timeout(core.now(), &mut out);
        assert!(out.is_empty(), "I43: {out:?}");
        assert_eq!(before, hub.next_timeout(), "I43");
        hub.handle_timeout(roomcast_core::Timestamp::ZERO, &mut out);
        assert!(out.is_empty(), "I43: {out:?}");
    }
}

/// The state of every hub, as text.
fn state(hub: &Hub) -> Vec<String> {
    let conns = hub.connections().map(|conn| {
        let state = hub.conn_state(conn.id).expect("it is live");
        serde_json::to_string(&state).expect("it is data")
    });
    let own = serde_json::to_string(&hub.state()).expect("it is data");
    conns.chain([own]).collect()
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn i1_i2_i3_i4_i9_i26_i43_hold_after_every_step(story in cast().ops(1..=60)) {
        let mut core = Core::new(&limits());
        for op in &story {
            core.perform(op)?;
            i26_work_is_bounded(&core, op);
            i43_a_needless_timeout_does_nothing(&core);
            if let Some(hub) = core.hub("default") {
                i1_membership_is_symmetric(hub);
                i2_counters_equal_a_recount(hub);
                i3_no_room_is_empty(hub);
                i4_every_member_is_live(hub);
                i9_rooms_never_pass_the_limit(hub);
            }
            core.assert_consistent();
        }
    }

    /// I10 to I18: what actors see, held against what they were told. See [`Watch`].
    #[test]
    fn i10_to_i18_hold_for_what_everybody_sees(story in stories()) {
        let mut core = Core::new(&limits());
        let mut watch = Watch::default();
        for op in &story {
            let answer = core.perform(op)?;
            watch.step(op, &answer, |actor| core.take(actor));
        }
        watch.i12_one_order_for_all_members();
    }

    #[test]
    fn i5_repeated_join_or_leave_does_nothing(
        story in stories(), actor in cast().actor(), room in cast().room(),
    ) {
        let mut core = told(&story);
        let join = Op::ServerJoin { actor: actor.clone(), room: room.clone() };
        let leave = Op::ServerLeave { actor, room };
        for (op, repeated) in [(join, r#""already":true"#), (leave, r#"{"was":false}"#)] {
            let first = core.perform(&op)?;
            let before = core.hub("default").map(state);
            let second = core.perform(&op)?;
            prop_assert_eq!(core.commands(), [""; 0]);
            prop_assert_eq!(core.hub("default").map(state), before);
            prop_assert_eq!(second.status, first.status);
            prop_assert!(second.status != 200 || second.body.contains(repeated), "{}", second);
        }
    }

    #[test]
    fn i6_disconnect_equals_leaving_all_rooms(story in stories(), actor in cast().actor()) {
        let (mut gone, mut left) = (told(&story), told(&story));
        let disconnect = Op::Disconnect { actor: actor.clone() };
        gone.perform(&disconnect)?;
        for room in ["lobby", "kitchen", "attic"] {
            left.perform(&Op::Leave { actor: actor.clone(), room: room.into() })?;
        }
        left.perform(&disconnect)?;
        prop_assert_eq!(gone.hub("default").map(state), left.hub("default").map(state));
        let before = gone.hub("default").map(state);
        gone.perform(&disconnect)?;
        prop_assert_eq!(gone.commands(), [""; 0]);
        prop_assert_eq!(gone.hub("default").map(state), before);
    }

    /// Applies every late input for a connection that ended and whose slot was taken by another.
    #[test]
    fn i7_a_dead_connection_changes_nothing(story in stories(), actor in cast().actor()) {
        let mut core = told(&story);
        let stale = core.conn(&actor);
        core.perform(&Op::Disconnect { actor })?;
        core.perform(&"newcomer connects".parse()?)?;
        if let (Some(stale), Some(app)) = (stale, core.app("default")) {
            let conn = stale.parse()?;
            let room = || "lobby".into();
            let (mut app, before) = (app.clone(), state(app.hub()));
            let mut out = roomcast_core::Outbox::new();
            for input in [
                Input::Text { conn, text: r#"{"event":"$join","room":"lobby"}"#.into() },
                Input::Text { conn, text: r#"{"event":"said","room":"lobby"}"#.into() },
                Input::Binary { conn, bytes: (&[0_u8][..]).into() },
                Input::Activity(conn),
                Input::Join { conn, room: room(), meta: None },
                Input::Leave { conn, room: room() },
                Input::Close { conn, code: roomcast_core::CloseCode::REMOVED, reason: "".into(), away_ms: 0 },
                Input::Disconnect { conn, reason: roomcast_core::DisconnectReason::Lost },
            ] {
                let _ = app.apply(core.now(), &input, &mut out);
                prop_assert!(out.is_empty(), "{:?} led to {:?}", input, out);
                prop_assert_eq!(&state(app.hub()), &before, "{:?}", input);
            }
        }
    }

    /// I8, as far as this version has late answers: after a leave and a join, no message of the
    /// earlier membership arrives.
    #[test]
    fn i8_a_membership_begins_anew(story in stories(), actor in cast().actor()) {
        let mut core = told(&story);
        let room = || "lobby".into();
        core.perform(&Op::Leave { actor: actor.clone(), room: room() })?;
        let before = core.take(&actor).len();
        core.perform(&Op::Join { actor: actor.clone(), room: room() })?;
        // At most the answer: nothing of the time before.
        prop_assert!(core.take(&actor).len() <= 1, "after {before}");
    }

    /// Errors of one actor are seen by nobody else.
    #[test]
    fn i19_errors_disturb_nobody_else(
        story in stories(), at in any::<prop::sample::Index>(), actor in cast().actor(),
    ) {
        let mut disturbed = story.clone();
        let text = r#"{"event":"said","room":"lobby","data":"\ud800"}"#.to_owned();
        let fault = Op::Text { actor: actor.clone(), text, times: 3 };
        disturbed.insert(at.index(story.len()), fault);
        // Frames count as signs of life, which is no disturbance.
        let calm = |op: &&Op| !matches!(op, Op::Wait { .. });
        let everybody: BTreeSet<Actor> = story.iter().filter_map(Op::client).cloned().collect();
        let seen = |story: &[Op]| {
            let mut core = told(&story.iter().filter(calm).cloned().collect::<Vec<_>>());
            let others = everybody.iter().filter(|other| **other != actor);
            others.map(|other| core.take(other)).collect::<Vec<Vec<Event>>>()
        };
        prop_assert_eq!(seen(&story), seen(&disturbed));
    }
}

use alloc::{borrow::Cow, format, string::String, vec};

use super::*;
use crate::journal::{Entry, Opening, Record, Replay};
use crate::{App, Command, Config, ConnId, Frame, Handshake, Input, Payload};

const AT: Timestamp = Timestamp::from_millis(1_000);

fn read(json: &str) -> Policies {
    serde_json::from_str(json).unwrap_or_else(|fault| panic!("{json}: {fault}"))
}

fn hub(policies: &str) -> (Hub, Outbox) {
    let config = Config::new("e").with_policies(read(policies));
    (Hub::new(config.with_durable(true)), Outbox::new())
}

fn enter(hub: &mut Hub, user: &str, room: &str, out: &mut Outbox) -> ConnId {
    let conn = hub.connect(AT, Handshake::new().with_user(user), out);
    let conn = conn.expect("a place");
    let meta = Payload::parse("7").expect("JSON");
    hub.join_with(AT, conn, room, meta, out).expect("joined");
    conn
}

fn say(hub: &mut Hub, room: &str, out: &mut Outbox) {
    let data = Payload::parse("1").expect("JSON");
    let audience = crate::Audience::room(room);
    hub.send(AT, &audience, "said", data, out).expect("sent");
}

/// The frames for connections, and the rooms to be persisted.
fn told(out: &mut Outbox) -> Vec<String> {
    let told = out.iter().filter_map(|command| match command {
        Command::Send {
            frame: Frame::Text(text),
            ..
        } => Some(text.into()),
        Command::PersistRoom { room } => Some(format!("keep {room}")),
        Command::Send { .. }
        | Command::Close { .. }
        | Command::Ping { .. }
        | Command::Persist { .. }
        | Command::Append { .. }
        | Command::PersistKey { .. }
        | Command::LoadHistory { .. }
        | Command::Relay(_)
        | Command::Tell { .. } => None,
    });
    let told = told.collect();
    out.clear();
    told
}

#[test]
fn a_history_that_both_policies_keep_goes_on() {
    let (mut hub, mut out) = hub(r#"{"rooms":[{"match":"*","history":{"messages":300}}]}"#);
    enter(&mut hub, "ann", "r", &mut out);
    (0..5).for_each(|_| say(&mut hub, "r", &mut out));
    let before = hub.position("r").into_owned();
    out.clear();
    let fewer = r#"{"rooms":[{"match":"s"},{"match":"*","history":{"messages":2}}]}"#;
    hub.set_policies(AT, read(fewer), &mut out);
    hub.assert_consistent();
    assert_eq!(told(&mut out), ["keep r"]);
    assert_eq!(hub.position("r"), before);
    assert_eq!(hub.history_first("r"), Some(4));
}

#[test]
fn a_history_ends_with_its_policy_and_another_begins_anew() {
    let (mut hub, mut out) = hub(r#"{"rooms":[{"match":"*","history":{"messages":300}}]}"#);
    let ann = enter(&mut hub, "ann", "r", &mut out);
    say(&mut hub, "r", &mut out);
    let before = hub.position("r").into_owned();
    for none in [r#"{}"#, r#"{"rooms":[{"match":"*"}]}"#] {
        out.clear();
        hub.set_policies(AT, read(none), &mut out);
        hub.assert_consistent();
        assert_eq!(told(&mut out), ["keep r"]);
        assert_eq!(
            (hub.history_first("r"), hub.members("r")),
            (None, &[ann][..])
        );
        assert_eq!(hub.counts().history_bytes, 0);
        say(&mut hub, "r", &mut out);
        assert_eq!(told(&mut out), [r#"{"event":"said","room":"r","data":1}"#]);
        hub.set_policies(
            AT,
            read(r#"{"rooms":[{"match":"r","history":{"messages":300}}]}"#),
            &mut out,
        );
        hub.assert_consistent();
        let position = hub.position("r").into_owned();
        assert!(position.epoch != before.epoch && position.offset == 0);
    }
}

#[test]
fn rooms_that_are_there_for_their_history_end_with_it() {
    let (mut hub, mut out) = hub(r#"{"rooms":[{"match":"*","history":{"messages":300}}]}"#);
    let ann = enter(&mut hub, "ann", "r", &mut out);
    say(&mut hub, "r", &mut out);
    hub.leave(AT, ann, "r", &mut out).expect("left");
    assert_eq!(hub.counts().rooms, 1);
    out.clear();
    hub.set_policies(AT, Policies::default(), &mut out);
    hub.assert_consistent();
    assert_eq!(hub.counts().rooms, 0);
    assert_eq!(told(&mut out).first().map(String::as_str), Some("keep r"));
    assert_eq!(
        hub.next_timeout(),
        hub.connection(ann)
            .map(|_| AT + hub.limits().heartbeat.expect("one"))
    );
}

#[test]
fn presence_begins_with_those_who_are_in_and_tells_nobody() {
    let (mut hub, mut out) = hub("{}");
    let ann = enter(&mut hub, "ann", "r", &mut out);
    enter(&mut hub, "bob", "r", &mut out);
    out.clear();
    hub.set_policies(
        AT,
        read(r#"{"rooms":[{"match":"r","presence":"members"}]}"#),
        &mut out,
    );
    hub.assert_consistent();
    assert_eq!(told(&mut out), [""; 0]);
    let page = hub.presence("r", None, 10).expect("shown");
    let users: Vec<_> = page
        .members
        .iter()
        .map(|member| member.user.clone())
        .collect();
    assert_eq!(users, vec![Some("ann".into()), Some("bob".into())]);
    hub.leave(AT, ann, "r", &mut out).expect("left");
    assert_eq!(
        told(&mut out),
        [r#"{"event":"$left","room":"r","data":{"user":"ann"}}"#]
    );
    hub.set_policies(AT, Policies::default(), &mut out);
    hub.assert_consistent();
    assert!(hub.presence("r", None, 10).is_err());
}

#[test]
fn who_is_waited_for_is_waited_for_until_presence_ends() {
    let policy = |more| format!(r#"{{"rooms":[{{"match":"r","presence":"members"{more}}}]}}"#);
    let (mut hub, mut out) = hub(&policy(r#","history":{"messages":300}"#));
    let ann = enter(&mut hub, "ann", "r", &mut out);
    let grace = Duration::from_secs(5);
    let lost = crate::DisconnectReason::Lost;
    hub.disconnect(AT, ann, lost, &mut out).expect("alive");
    hub.set_policies(AT, read(&policy("")), &mut out);
    hub.assert_consistent();
    assert_eq!(hub.next_timeout(), Some(AT + grace), "for ann");
    hub.set_policies(
        AT,
        read(&policy(r#","history":{"messages":300}"#)),
        &mut out,
    );
    hub.assert_consistent();
    hub.set_policies(
        AT,
        read(r#"{"rooms":[{"match":"r","presence":"off"}]}"#),
        &mut out,
    );
    hub.assert_consistent();
    assert_eq!((hub.counts().rooms, hub.next_timeout()), (0, None));
}

/// Timed inputs for rooms in all states: with members, with absent users who may return, and empty.
/// The policies change from `before` to `after`, back and again.
fn story(before: &str, after: &str) -> Vec<(u64, Input<'static>)> {
    let conn = |conn: u64| ConnId::new(conn, u32::try_from(conn).expect("few"));
    let join = |at: u64, (number, room): (u64, &'static str)| {
        let (conn, room, meta) = (conn(number), room.into(), None);
        (at, Input::Join { conn, room, meta })
    };
    let say = |at: u64, room: &'static str| {
        let say = Input::Send {
            path: None,
            key: None,
            audience: Cow::Owned(crate::Audience::room(room)),
            event: "said".into(),
            data: serde_json::from_str("1").expect("JSON"),
        };
        (at, say)
    };
    let end = |at: u64, number: u64| {
        let (conn, reason) = (conn(number), crate::DisconnectReason::Lost);
        (at, Input::Disconnect { conn, reason })
    };
    let mut story = Vec::new();
    for user in ["ann", "bob", "ann"] {
        story.push((0, Input::Connect(Handshake::new().with_user(user))));
    }
    let joins = [(0, "full"), (1, "full"), (2, "waits"), (0, "left")];
    story.extend(joins.map(|joined| join(1, joined)));
    story.extend(["full", "waits", "left", "full", "full"].map(|room| say(2, room)));
    story.push(end(3, 2));
    let (conn, room) = (conn(0), "left".into());
    story.push((3, Input::Leave { conn, room }));
    for (at, policies) in [(4, after), (6, before), (8, after)] {
        let policies = Cow::Owned(read(policies));
        story.push((at, Input::SetPolicies { policies }));
        story.extend(["full", "waits", "new"].map(|room| say(at + 1, room)));
    }
    story.extend([(0, "left"), (1, "waits"), (0, "new")].map(|joined| join(9, joined)));
    story.push((9, Input::Timeout));
    story.extend([end(10, 0), end(10, 1)]);
    story.extend([5_000, 40_000, 10_000_000].map(|at| (at, Input::Timeout)));
    story
}

/// All pairs of policies. A replay of the journal gives the same commands.
#[test]
fn every_change_of_policy_leaves_a_hub_whole_and_replays() {
    let policies = [
        r#"{}"#,
        r#"{"rooms":[{"match":"*"}]}"#,
        r#"{"rooms":[{"match":"other"},{"match":"*","history":{"messages":2}}]}"#,
        r#"{"rooms":[{"match":"*","history":{"messages":1,"age_s":1}}]}"#,
        r#"{"rooms":[{"match":"*","presence":"counts"}]}"#,
        r#"{"rooms":[{"match":"*","presence":"members"}]}"#,
        r#"{"rooms":[{"match":"*","presence":"members","presence_grace_s":0,"members":1}]}"#,
        r#"{"rooms":[{"match":"*","presence":"members","history":{"messages":300}}]}"#,
        r#"{"rooms":[{"match":"full","presence":"members"},{"match":"*","history":{"messages":300}}]}"#,
    ];
    for (before, after) in policies.iter().flat_map(|a| policies.map(|b| (*a, b))) {
        let config = Config::new("e")
            .with_policies(read(before))
            .with_durable(true);
        let (mut app, mut out) = (App::new(config.clone(), ()), Outbox::new());
        let opening = Opening::new(config, app.hub().state());
        let mut journal = vec![Entry::new(Timestamp::ZERO, "n", Record::Open(opening)).to_line()];
        for (at, input) in story(before, after) {
            let at = Timestamp::from_millis(at);
            let _ = app.apply(at, &input, &mut out);
            app.hub().assert_consistent();
            journal.push(Entry::new(at, "n", Record::Input(input)).to_line());
        }
        let (mut replay, mut again) = (Replay::new(), Outbox::new());
        for line in &journal {
            let entry = Entry::parse(line).expect("an entry");
            replay.apply(&entry, &mut again).expect("opened");
        }
        let texts =
            |out: &Outbox| -> Vec<_> { out.iter().map(|command| format!("{command:?}")).collect() };
        assert_eq!(texts(&again), texts(&out), "{before} and {after}");
        assert_eq!(
            (app.hub().counts().rooms, app.next_timeout()),
            (0, None),
            "{after}"
        );
    }
}

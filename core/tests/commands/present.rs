//! A clustered hub: the users of a room on all nodes.

#![allow(clippy::wildcard_enum_match_arm)] // any other command is unexpected

use roomcast_core::{
    Config, ConnId, Policies,
    policy::{EventKind, Subscription, Subscriptions},
    relay::{Notice, PresenceChange, PresentUser, RelayCommand, RelayEvent, RoomUsers, Topic},
};

use super::relayed::{Node, page};

fn node() -> Node {
    let policies = r#"{"rooms":[{"match":"den","presence":"members"}]}"#;
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let kinds = [
        EventKind::UserJoined,
        EventKind::UserLeft,
        EventKind::RoomOccupied,
    ];
    let subscription = Subscription::new(kinds, "*".parse().expect("a pattern"));
    let config = Config::new("alone").with_policies(policies);
    Node::with(config.with_subscriptions(Subscriptions::from_iter([subscription])))
}

fn users(number: u64, names: &[&str]) -> RoomUsers {
    let user = |name: &&str| user(name, 1);
    RoomUsers {
        room: "den".into(),
        epoch: "e".into(),
        number,
        total: names.len(),
        conns: names.len(),
        users: names.iter().map(user).collect(),
    }
}

fn user(name: &str, conns: u64) -> PresentUser {
    PresentUser {
        name: name.into(),
        conns,
        waits: false,
        meta: None,
    }
}

fn notice(number: u64, change: PresenceChange, name: &str) -> RelayEvent {
    RelayEvent::Notice(Notice {
        room: "den".into(),
        epoch: "e".into(),
        number,
        change,
        name: name.into(),
        meta: None,
    })
}

fn reconciled(token: u64, changes: Vec<(Box<str>, PresenceChange)>) -> RelayEvent {
    RelayEvent::Reconciled {
        token,
        room: "den".into(),
        changes,
    }
}

/// Adds a guest to the room, which is otherwise empty for both relay and node.
fn member(node: &mut Node) -> ConnId {
    let conn = node.connect();
    node.text(conn, r#"{"event":"$join","room":"den"}"#);
    node.subscribed(&[page(Topic::room("den"), 0, &[])]);
    let mut commands = std::mem::take(&mut node.commands);
    commands.append(&mut node.entered);
    for command in commands {
        match command {
            RelayCommand::ListUsers { token, .. } => {
                let page = users(0, &[]);
                node.event(RelayEvent::Users { token, page });
            }
            RelayCommand::SetPresent { token, room, user } => {
                let change = Some(PresenceChange::Joined);
                let (room, name) = (room.clone(), user.name);
                let present = RelayEvent::Present {
                    token,
                    change,
                    room: room.clone(),
                    name,
                };
                let frames = node.event(present);
                let is_told = &*room == "\u{1}den";
                assert_eq!(frames.len(), usize::from(is_told), "{room:?}: {frames:?}");
            }
            RelayCommand::Reconcile { token, users, .. } => {
                assert!(users.is_empty(), "the room was not open yet: {users:?}");
                node.event(reconciled(token, Vec::new()));
            }
            other => panic!("{other:?}"),
        }
    }
    let name = format!("c{conn}");
    node.event(notice(1, PresenceChange::Joined, &name));
    conn
}

#[test]
fn members_are_told_what_the_relay_says_and_once() {
    let mut node = node();
    member(&mut node);
    let joined = notice(2, PresenceChange::Joined, "uann");
    let frame = r#"0 {"event":"$joined","room":"den","data":{"user":"ann"}}"#;
    assert_eq!(node.event(joined.clone()), [frame]);
    assert!(node.event(joined).is_empty());
    let frame = r#"0 {"event":"$left","room":"den","data":{"user":"ann"}}"#;
    assert_eq!(node.event(notice(3, PresenceChange::Left, "uann")), [frame]);
    assert!(node.commands.is_empty());
}

#[test]
fn after_a_lost_notice_the_difference_is_told() {
    let mut node = node();
    let conn = member(&mut node);
    assert!(
        node.event(notice(3, PresenceChange::Joined, "uben"))
            .is_empty()
    );
    let RelayCommand::ListUsers { token, limit, .. } = node.command() else {
        panic!("no list");
    };
    assert_eq!(limit, node.hub.limits().presence_list);
    let page = users(3, &[&format!("c{conn}"), "uann", "uben"]);
    let frames = node.event(RelayEvent::Users { token, page });
    let frame =
        |user| format!(r#"0 {{"event":"$joined","room":"den","data":{{"user":"{user}"}}}}"#);
    assert_eq!(frames, [frame("ann"), frame("ben")]);
}

#[test]
fn a_page_of_members_comes_from_the_relay() {
    let mut node = node();
    let conn = member(&mut node);
    node.event(notice(2, PresenceChange::Joined, "uann"));
    let request = r#"{"event":"$members","id":1,"room":"den"}"#;
    assert!(node.text(conn, request).is_empty());
    let token = node.token();
    let mut page = users(2, &[&format!("c{conn}"), "uann"]);
    (page.conns, page.users[1].conns) = (4, 3);
    let frames = node.event(RelayEvent::Users { token, page });
    let members = r#"[{"user":"ann","conns":3},{"user":"","conn":"0","conns":1}]"#;
    let answer = format!(
        r#"0 {{"event":"$members","id":1,"room":"den","data":{{"members":{members},"users":2,"conns":4}}}}"#
    );
    assert_eq!(frames, [answer]);
    node.event(RelayEvent::Down);
    let frames = node.text(conn, request);
    assert!(frames[0].contains(members), "as it was: {frames:?}");
}

/// Returns the token of the only pending request for the list.
fn list(node: &mut Node) -> u64 {
    let RelayCommand::ListUsers { token, .. } = node.command() else {
        panic!("no list");
    };
    assert!(node.commands.is_empty(), "{:?}", node.commands);
    token
}

#[test]
fn one_list_of_a_room_at_a_time_answers_all_who_asked_before_it() {
    let mut node = node();
    let conn = member(&mut node);
    let names = [&*format!("c{conn}"), "uann"];
    node.event(notice(2, PresenceChange::Joined, "uann"));
    let ask = |id| format!(r#"{{"event":"$members","id":{id},"room":"den"}}"#);
    node.text(conn, &ask(1));
    let first = list(&mut node);
    for id in 2..10 {
        node.text(conn, &ask(id));
    }
    assert!(node.commands.is_empty(), "{:?}", node.commands);
    // Members are still notified of changes.
    let told = node.event(notice(3, PresenceChange::Joined, "uben"));
    assert!(told[0].contains("ben"), "{told:?}");
    // The page is older than the last notice, but its connection counts still apply.
    let mut page = users(2, &names);
    (page.conns, page.users[1].conns) = (4, 3);
    let frames = node.event(RelayEvent::Users { token: first, page });
    let members = r#"[{"user":"ann","conns":3},{"user":"ben","conns":1},"#;
    assert!(
        frames[0].contains(members) && frames[0].contains(r#""conns":5}}"#),
        "{frames:?}"
    );
    assert_eq!(frames.len(), 1);
    let next = list(&mut node);
    let page = users(3, &[names[0], names[1], "uben"]);
    let frames = node.event(RelayEvent::Users { token: next, page });
    assert_eq!(frames.len(), 8);
    assert!(node.commands.is_empty());
    // The second page continues from the list that the first one loaded.
    let request = r#"{"event":"$members","room":"den","data":{"after":"uann"}}"#;
    assert!(node.text(conn, request)[0].contains("ben"));
    assert!(node.commands.is_empty());
}

#[test]
fn a_list_of_another_epoch_is_no_answer_before_it_is_taken() {
    let mut node = node();
    let conn = member(&mut node);
    node.text(conn, r#"{"event":"$members","room":"den"}"#);
    let mut token = list(&mut node);
    let guest = format!("c{conn}");
    let page = || {
        let mut page = users(1, &[&*guest, "uann"]);
        page.epoch = "e.2".into();
        (page.conns, page.users[1].conns) = (3, 2);
        page
    };
    let frames = node.event(RelayEvent::Users {
        token,
        page: page(),
    });
    assert!(frames.is_empty(), "{frames:?}");
    let mut frames = Vec::new();
    let mut lists = 0;
    while !node.commands.is_empty() {
        let RelayCommand::ListUsers { token: next, .. } = node.commands.remove(0) else {
            panic!("no list");
        };
        token = next;
        frames.extend(node.event(RelayEvent::Users {
            token,
            page: page(),
        }));
        lists += 1;
    }
    assert_eq!((frames.len(), lists), (2, 2), "{frames:?}");
    assert!(frames[0].contains("$joined"), "{frames:?}");
    assert!(
        frames[1].contains(r#"{"user":"ann","conns":2}"#),
        "{frames:?}"
    );
}

#[test]
fn a_list_that_fails_is_an_error_for_all_who_wait() {
    let mut node = node();
    let conn = member(&mut node);
    let request = r#"{"event":"$members","room":"den"}"#;
    node.text(conn, request);
    node.text(conn, request);
    let token = list(&mut node);
    let frames = node.event(RelayEvent::Failed { token });
    assert_eq!(frames.len(), 2);
    assert!(frames[1].contains(r#""unavailable""#), "{frames:?}");
}

#[test]
fn who_was_not_entered_is_entered_again() {
    let mut node = node();
    let conn = member(&mut node);
    node.text(conn, r#"{"event":"$leave","room":"den"}"#);
    let left = std::mem::take(&mut node.commands);
    let room = |command: &RelayCommand| match command {
        RelayCommand::SetPresent { room, user, .. } => (room.clone(), user.clone()),
        other => panic!("{other:?}"),
    };
    let gone = ("den".into(), user(&format!("c{conn}"), 0));
    assert_eq!(
        left.iter().map(room).collect::<Vec<_>>(),
        std::slice::from_ref(&gone)
    );
    let RelayCommand::SetPresent { token, .. } = left[0] else {
        panic!("{left:?}");
    };
    node.event(RelayEvent::Failed { token });
    node.wait(1_000);
    let again: Vec<_> = std::mem::take(&mut node.commands)
        .iter()
        .map(room)
        .collect();
    assert_eq!(again, [gone]);
}

#[test]
fn a_node_that_was_taken_for_dead_enters_all() {
    let mut node = node();
    let conn = member(&mut node);
    node.event(RelayEvent::Registered);
    let entered: Vec<_> = std::mem::take(&mut node.commands)
        .into_iter()
        .map(|command| match command {
            RelayCommand::SetPresent { room, user, .. } => (room, user),
            other => panic!("{other:?}"),
        })
        .collect();
    let guest = ("den".into(), user(&format!("c{conn}"), 1));
    assert_eq!(entered, [guest]);
    assert_eq!(node.entered(), ["den 1 "]);
}

#[test]
fn users_of_a_dead_node_are_told_to_backends_here() {
    let mut node = node();
    let names = ["uann".into(), "c99".into()].into();
    let room = "den".into();
    let told = node.event(RelayEvent::Reaped { room, names });
    assert_eq!(
        told,
        [r#"told {"type":"user.left","room":"den","user":"ann"}"#]
    );
}

#[test]
fn the_relay_is_told_once_a_minute_who_is_here() {
    let mut node = node();
    let conn = member(&mut node);
    node.wait(60_000);
    let RelayCommand::Reconcile { room, users, .. } = node.command() else {
        panic!("not reconciled");
    };
    assert_eq!((&*room, users), ("den", vec![user(&format!("c{conn}"), 1)]));
}

#[test]
fn a_change_that_is_answered_behind_a_loss_is_told_to_backends() {
    let mut node = node();
    let conn = member(&mut node);
    node.text(conn, r#"{"event":"$leave","room":"den"}"#);
    let Some(RelayCommand::SetPresent { token, .. }) = node.entered.pop() else {
        panic!("the room is not vacated");
    };
    node.event(RelayEvent::Down);
    let (change, room) = (Some(PresenceChange::Joined), "\u{1}den".into());
    let name = "*".into();
    let present = RelayEvent::Present {
        token,
        change,
        room,
        name,
    };
    let told = r#"told {"type":"room.occupied","room":"den"}"#;
    assert_eq!(node.event(present), [told]);
}

#[test]
fn corrections_of_the_relay_are_told_to_backends() {
    let mut node = node();
    member(&mut node);
    node.wait(60_000);
    let token = node.token();
    let changes = vec![
        ("uann".into(), PresenceChange::Joined),
        ("uben".into(), PresenceChange::Left),
        ("c99".into(), PresenceChange::Left),
    ];
    let told = node.event(reconciled(token, changes));
    let expected = [("joined", "ann"), ("left", "ben")].map(|(change, user)| {
        format!(r#"told {{"type":"user.{change}","room":"den","user":"{user}"}}"#)
    });
    assert_eq!(told, expected);
}

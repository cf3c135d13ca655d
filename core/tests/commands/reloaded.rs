//! A clustered hub whose policies and backends change while somebody is in its rooms.

#![allow(clippy::wildcard_enum_match_arm)] // any other command is unexpected

use roomcast_core::{
    Config, DisconnectReason, Policies,
    policy::{EventKind, Subscription, Subscriptions},
    relay::{PresenceChange, RelayCommand, RelayEvent},
};

use super::relayed::Node;

fn node(policies: &str) -> Node {
    Node::with(Config::new("alone").with_policies(read(policies)))
}

fn read(policies: &str) -> Policies {
    serde_json::from_str(policies).expect("policies")
}

impl Node {
    fn set_policies(&mut self, policies: &str) -> Vec<String> {
        let (now, out) = (self.now, &mut self.out);
        self.hub.set_policies(now, read(policies), out);
        self.frames()
    }

    /// The rooms that the relay was told of since the last call, whether they have members, and for
    /// how many milliseconds they are remembered.
    pub(super) fn entered(&mut self) -> Vec<String> {
        let entered = std::mem::take(&mut self.entered).into_iter();
        let text = |command: RelayCommand| match command {
            RelayCommand::SetPresent { room, user, .. } => {
                let (conns, age) = (user.conns, user.meta.unwrap_or_default());
                format!("{} {conns} {age}", &room[1..])
            }
            other => panic!("{other:?}"),
        };
        entered.map(text).collect()
    }
}

const NONE: &str = r#"{"rooms":[]}"#;

#[test]
fn the_relay_knows_of_members_whether_or_not_somebody_is_told() {
    let mut node = node(NONE);
    let (conn, other) = (node.member("den", 0), node.connect());
    assert_eq!(node.entered(), ["den 1 "]);
    node.text(other, r#"{"event":"$join","room":"den"}"#);
    assert!(node.entered().is_empty(), "a second member here");
    let all = "*".parse().expect("a pattern");
    let kinds = [EventKind::RoomOccupied, EventKind::RoomVacated];
    let tells = Subscriptions::from_iter([Subscription::new(kinds, all)]);
    node.hub.set_backends(tells, false);
    assert!(node.frames().is_empty() && node.entered().is_empty());
    node.text(other, r#"{"event":"$leave","room":"den"}"#);
    node.text(conn, r#"{"event":"$leave","room":"den"}"#);
    let Some(RelayCommand::SetPresent {
        token, room, user, ..
    }) = node.entered.pop()
    else {
        panic!("the room is not vacated");
    };
    assert_eq!(user.conns, 0);
    let change = Some(PresenceChange::Left);
    let name = user.name;
    let told = node.event(RelayEvent::Present {
        token,
        change,
        room,
        name,
    });
    assert_eq!(told, [r#"told {"type":"room.vacated","room":"den"}"#]);
    assert!(node.entered().is_empty());
}

#[test]
fn a_last_member_that_is_lost_vacates_a_room_that_no_policy_matches() {
    let mut node = node(NONE);
    let conn = node.member("den", 0);
    node.entered();
    let (now, out) = (node.now, &mut node.out);
    let ended = node.hub.disconnect(now, conn, DisconnectReason::Lost, out);
    ended.expect("it was alive");
    node.frames();
    assert_eq!(node.entered(), ["den 0 "]);
}

#[test]
fn rooms_with_members_are_remembered_as_the_new_policies_say() {
    let log =
        |age_s: u32| format!(r#"{{"rooms":[{{"match":"log","history":{{"age_s":{age_s}}}}}]}}"#);
    let mut node = node(NONE);
    node.member("log", 0);
    node.member("den", 0);
    assert_eq!(node.entered(), ["log 1 ", "den 1 "]);
    node.set_policies(&log(7));
    assert_eq!(node.entered(), ["log 1 7000"], "a history begins");
    node.set_policies(&log(9));
    assert_eq!(node.entered(), ["log 1 9000"], "it is kept for longer");
    node.set_policies(&log(9).replace("log", "l*"));
    assert!(node.entered().is_empty(), "nothing changes for the room");
    node.set_policies(NONE);
    assert_eq!(node.entered(), ["log 1 "], "it ends");
}

#[test]
fn a_change_of_policies_in_an_outage_is_told_after_it() {
    let mut node = node(NONE);
    node.member("log", 0);
    node.entered();
    node.event(RelayEvent::Down);
    node.set_policies(r#"{"rooms":[{"match":"log","history":{"age_s":7}}]}"#);
    assert!(node.entered().is_empty());
    node.event(RelayEvent::Up);
    assert_eq!(node.entered(), ["log 1 7000"]);
}

const SHOWN: &str = r#"{"rooms":[{"match":"den","presence":"members","presence_grace_s":9}]}"#;

#[test]
fn a_last_policy_ends_with_the_presence_of_its_rooms() {
    let mut node = node(SHOWN);
    let conn = node.member("den", 0);
    node.commands.clear();
    assert!(node.set_policies(NONE).is_empty());
    let gone = node
        .commands
        .iter()
        .any(|command| matches!(command, RelayCommand::SetPresent { user, .. } if user.conns == 0));
    assert!(gone, "{:?}", node.commands);
    assert_eq!(node.hub.members("den"), [conn]);
    assert_eq!(node.entered(), ["den 1 "]);
}

#[test]
fn a_room_whose_users_are_waited_for_no_more_is_vacated() {
    let mut node = node(SHOWN);
    let conn = node.connect_as("ann");
    node.text(conn, r#"{"event":"$join","room":"den"}"#);
    node.event(RelayEvent::Down);
    node.event(RelayEvent::Up);
    node.commands.clear();
    node.entered();
    node.hub
        .join(node.now, conn, "den", &mut node.out)
        .expect("it is alive");
    node.frames();
    assert_eq!(node.entered(), ["den 1 "]);
    let (now, out) = (node.now, &mut node.out);
    let ended = node.hub.disconnect(now, conn, DisconnectReason::Lost, out);
    ended.expect("it was alive");
    node.frames();
    assert!(node.entered().is_empty(), "ann may be back");
    node.set_policies(NONE);
    assert_eq!(node.entered(), ["den 0 "]);
}

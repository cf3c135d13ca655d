//! Users who join and leave, as the presence hooks report them to an application.

use roomcast_core::{
    Applied, CloseCode, ConnId, DisconnectReason, Gateway, Input, Limits, Rejection, Router,
    room::PresencePage,
};

use super::stage::{Stage, caught};

const POLICIES: &str = r#"{"rooms":[
    {"match":"den*","presence":"members","presence_grace_s":5},
    {"match":"log","history":{"age_s":2},"presence":"members","presence_grace_s":5},
    {"match":"hall","presence":"counts"},
    {"match":"quiet","presence":"members","presence_grace_s":0}
]}"#;

/// Calls of the presence hooks, oldest first.
type Told = Vec<String>;

fn porter() -> Router<Told> {
    Router::new(Told::new())
        .persistent()
        .on_present(|_, told, room, user| told.push(format!("{user} in {room}")))
        .on_absent(|_, told, room, user| told.push(format!("{user} out of {room}")))
}

fn stage() -> Stage<Router<Told>> {
    Stage::with_policies(porter(), POLICIES)
}

impl Stage<Router<Told>> {
    fn comes(&mut self, user: &str, room: &str) -> ConnId {
        let conn = self.connect(user).expect("admitted");
        self.joins(conn, room);
        conn
    }

    fn joins(&mut self, conn: ConnId, room: &str) {
        self.join(conn, room);
    }

    /// Asserts the hook calls so far.
    #[track_caller]
    fn told<const N: usize>(&self, expected: [&str; N]) {
        assert_eq!(self.app.gateway().state()[..], expected);
        self.app.hub().assert_consistent();
    }

    fn presence(&self, room: &str) -> PresencePage {
        self.app.hub().presence(room, None, 9).expect("shown")
    }
}

#[test]
fn a_user_comes_once_and_goes_once() {
    let mut stage = stage();
    let first = stage.comes("ann", "den");
    let second = stage.comes("ann", "den");
    stage.told(["ann in den"]);
    stage.lost(first);
    stage.wait(10_000);
    stage.told(["ann in den"]);
    stage.leave(second, "den");
    // A user who leaves has no grace time.
    stage.told(["ann in den", "ann out of den"]);
}

#[test]
fn the_last_one_of_a_room_is_waited_for() {
    let mut stage = stage();
    let ann = stage.comes("ann", "den");
    stage.lost(ann);
    stage.wait(4_999);
    stage.told(["ann in den"]);
    let page = stage.presence("den");
    assert_eq!((page.users, page.conns), (1, 0));
    // The room is invisible to everybody else.
    let hub = stage.app.hub();
    assert_eq!((hub.counts().rooms, hub.rooms("", None).count()), (0, 0));
    assert_eq!(hub.room("den"), None);
    assert!(!hub.is_idle(stage.now), "somebody is waited for");
    let ann = stage.comes("ann", "den");
    stage.wait(10_000);
    stage.told(["ann in den"]);
    stage.lost(ann);
    stage.wait(5_000);
    stage.told(["ann in den", "ann out of den"]);
    assert!(stage.app.hub().is_idle(stage.now));
    assert_eq!(stage.app.next_timeout(), None);
}

#[test]
fn nothing_is_forgotten_in_sleep() {
    for room in ["den", "log"] {
        let mut stage = stage();
        let ann = stage.comes("ann", room);
        let ben = stage.comes("ben", room);
        stage.sleep(porter());
        stage.lost(ann);
        stage.sleep(porter());
        stage.wait(1_000);
        stage.lost(ben);
        stage.sleep(porter());
        stage.wait(3_999);
        stage.sleep(porter());
        assert_eq!(stage.presence(room).users, 2);
        stage.wait(1);
        stage.sleep(porter());
        stage.comes("ben", room);
        stage.sleep(porter());
        stage.wait(10_000);
        let [came, went] =
            [("ann", "in"), ("ann", "out of")].map(|(u, w)| format!("{u} {w} {room}"));
        stage.told([&came, &format!("ben in {room}"), &went]);
    }
}

/// A grace time that is longer than the retention of the room's history.
#[test]
fn a_history_ends_after_who_is_waited_for() {
    let mut stage = stage();
    let ann = stage.comes("ann", "log");
    stage.lost(ann);
    stage.wait(4_999);
    assert!(stage.app.hub().room("log").is_some());
    stage.told(["ann in log"]);
    stage.wait(1);
    stage.told(["ann in log", "ann out of log"]);
    assert_eq!(stage.app.hub().room("log"), None);
    assert_eq!(stage.app.next_timeout(), None);
}

#[test]
fn counts_and_no_grace_are_told_at_once_and_guests_never() {
    let mut stage = stage();
    let ann = stage.comes("ann", "hall");
    stage.joins(ann, "quiet");
    stage.joins(ann, "elsewhere");
    let guest = roomcast_core::Handshake::new();
    let guest = stage.connect_with(guest);
    let guest = guest.expect("admitted");
    stage.joins(guest, "hall");
    stage.lost(ann);
    stage.lost(guest);
    stage.told([
        "ann in hall",
        "ann in quiet",
        "ann out of hall",
        "ann out of quiet",
    ]);
}

/// A user who is removed for good has no grace time.
#[test]
fn who_may_not_return_is_gone_at_once() {
    let mut stage = stage();
    for (code, told) in [(CloseCode::REMOVED, 2), (CloseCode::AWAY, 3)] {
        let ann = stage.comes("ann", "den");
        let closed = stage.apply(&Input::close(ann, code, ""));
        assert_eq!(closed, Applied::Done);
        assert_eq!(stage.app.gateway().state().len(), told, "{code:?}");
    }
    stage.wait(5_000);
    stage.told([
        "ann in den",
        "ann out of den",
        "ann in den",
        "ann out of den",
    ]);
}

#[test]
fn who_is_refused_was_never_there() {
    let refusing = || {
        porter().on_connect(|cx, _| {
            cx.join("den")?;
            match cx.user() {
                Some("ben") => Err(Rejection::forbidden("not ben")),
                _ => Ok(()),
            }
        })
    };
    let mut stage = Stage::with_policies(refusing(), POLICIES);
    assert!(stage.connect("ben").is_err());
    stage.told([]);
    let ann = stage.connect("ann").expect("admitted");
    assert!(stage.connect("ben").is_err());
    stage.lost(ann);
    stage.told(["ann in den"]);
    stage.wait(5_000);
    stage.told(["ann in den", "ann out of den"]);
}

/// A user in the grace time of presence counts as gone once a reconnect is refused.
#[test]
fn who_is_refused_on_return_is_gone() {
    let refusing = Router::new((Told::new(), 0))
        .on_present(|_, (told, _), room, user| told.push(format!("{user} in {room}")))
        .on_absent(|_, (told, _), room, user| told.push(format!("{user} out of {room}")))
        .on_connect(|cx, (_, times)| {
            cx.join("den")?;
            *times += 1;
            match times {
                1 => Ok(()),
                _ => Err(Rejection::forbidden("once is enough")),
            }
        });
    let mut stage = Stage::with_policies(refusing, POLICIES);
    let ann = stage.connect("ann").expect("admitted");
    stage.lost(ann);
    assert!(stage.connect("ann").is_err());
    stage.wait(5_000);
    assert_eq!(
        stage.app.gateway().state().0,
        ["ann in den", "ann out of den"]
    );
    stage.app.hub().assert_consistent();
}

/// Empty rooms with users in their grace time are limited like rooms with a history.
#[test]
fn nobody_is_waited_for_in_too_many_rooms() {
    let mut limits = Limits::default();
    (limits.heartbeat, limits.history_rooms) = (None, 1);
    let mut stage = Stage::with_policies_and_limits(porter(), POLICIES, limits);
    let [ann, ben] = [stage.comes("ann", "den"), stage.comes("ben", "den2")];
    let cat = stage.comes("cat", "den2");
    stage.lost(ann);
    stage.lost(ben);
    stage.told(["ann in den", "ben in den2", "cat in den2"]);
    stage.lost(cat);
    stage.told([
        "ann in den",
        "ben in den2",
        "cat in den2",
        "ben out of den2",
        "cat out of den2",
    ]);
    stage.wait(5_000);
    assert_eq!(
        stage.app.gateway().state().last().map(|told| &**told),
        Some("ann out of den")
    );
}

#[test]
fn a_history_that_is_forgotten_takes_nobody_along_in_silence() {
    let policies = r#"{"rooms":[{"match":"*","history":{"messages":300},"presence":"members"}]}"#;
    let mut limits = Limits::default();
    (limits.heartbeat, limits.history_rooms) = (None, 1);
    let mut stage = Stage::with_policies_and_limits(porter(), policies, limits);
    let [ann, ben] = [stage.comes("ann", "a"), stage.comes("ben", "b")];
    stage.lost(ann);
    stage.lost(ben);
    stage.told(["ann in a", "ben in b", "ann out of a"]);
}

/// The hooks of a user run after those of its connection, and act on the namespace.
#[test]
fn users_come_and_go_behind_their_connections() {
    let router = Router::default()
        .on_joined(|cx, (), room| {
            cx.broadcast("joined", room).expect("text");
        })
        .on_left(|cx, (), room| {
            cx.broadcast("left", room).expect("text");
        })
        .on_disconnect(|cx, (), _| {
            cx.broadcast("ended", &()).expect("text");
        })
        .on_present(|namespace, (), _, user| {
            namespace.broadcast("present", user).expect("text");
        })
        .on_absent(|namespace, (), _, user| {
            namespace.broadcast("absent", user).expect("text");
        });
    let mut stage = Stage::with_policies(router, POLICIES);
    stage.connect("ann").expect("admitted");
    let ben = stage.connect("ben").expect("admitted");
    stage.take();
    stage.text(ben, r#"{"event":"$join","id":1,"room":"quiet"}"#);
    stage.expect([
        r#"send b {"event":"$join","id":1,"room":"quiet","data":{"epoch":"e","offset":0,"already":false}}"#,
        r#"send a,b {"event":"joined","data":"quiet"}"#,
        r#"send a,b {"event":"present","data":"ben"}"#,
    ]);
    stage.lost(ben);
    stage.expect([
        r#"send a {"event":"left","data":"quiet"}"#,
        r#"send a {"event":"ended","data":null}"#,
        r#"send a {"event":"absent","data":"ben"}"#,
    ]);
}

#[test]
fn hooks_that_cause_each_other_come_to_an_end() {
    let router = Router::new(0_u32).on_absent(|namespace, times, room, _| {
        *times += 1;
        let all: Vec<_> = namespace.connections().map(|conn| conn.id).collect();
        for conn in all {
            namespace.join(conn, room).expect("room for it");
            namespace.leave(conn, room).expect("alive");
        }
    });
    let mut stage = Stage::with_policies(router, POLICIES);
    stage.connect("ann").expect("admitted");
    let ben = stage.connect("ben").expect("admitted");
    stage.join(ben, "quiet");
    stage.leave(ben, "quiet");
    assert!(
        stage
            .faults()
            .iter()
            .any(|fault| fault.contains("without an end"))
    );
    assert!(*stage.app.gateway().state() < 10_000);
}

#[test]
fn a_hook_that_panics_keeps_none_of_the_others_from_running() {
    let router = Router::new(Told::new())
        .on_absent(|_, told, room, user| {
            told.push(format!("{user} out of {room}"));
            assert_ne!(user, "ann", "planted");
        })
        .on_absent(|_, told, room, user| told.push(format!("{user} has left {room}")));
    let mut stage = Stage::with_policies(router, POLICIES);
    let conns = ["ann", "ben"].map(|user| stage.comes(user, "den"));
    for conn in conns {
        stage.lost(conn);
    }
    stage.now = stage.app.next_timeout().expect("somebody is waited for");
    caught(&mut stage, &Input::Timeout);
    stage.told([
        "ann out of den",
        "ann has left den",
        "ben out of den",
        "ben has left den",
    ]);
    assert_eq!(stage.faults(), ["absent: planted"]);
}

/// A room without presence hooks still waits for its users, who may reconnect one at a time.
#[test]
fn who_does_not_ask_is_not_told() {
    let silent = Router::default().on_left(|_, (), _| {});
    assert!(!silent.wants_presence());
    let mut stage = Stage::with_policies(silent, POLICIES);
    let ann = stage.connect("ann").expect("admitted");
    let ben = stage.connect("ben").expect("admitted");
    for conn in [ann, ben] {
        stage.join(conn, "den");
    }
    stage.lost(ann);
    stage.take();
    let reason = DisconnectReason::Lost;
    let conn = ben;
    let gone = stage.apply(&Input::Disconnect { conn, reason });
    assert_eq!(gone, Applied::Done);
    assert_eq!(stage.take(), ["persist den"]);
    assert!(stage.app.hub().room("den").is_none(), "nobody is in it");
    stage.now = stage.app.next_timeout().expect("both are waited for");
    caught(&mut stage, &Input::Timeout);
    // The room is gone.
    assert_eq!(stage.app.hub().room_state("den"), None);
    assert!(stage.app.hub().is_idle(stage.now));
}

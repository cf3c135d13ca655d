//! What the passing of time does.

use roomcast_core::{Handshake, Limits, Timestamp, UnknownConn};

use crate::desk::Desk;

#[test]
fn heartbeat() {
    let (mut desk, [a, b]) = Desk::connected();
    let at = Timestamp::from_millis;
    assert_eq!(desk.hub.next_timeout(), Some(at(25_000)));
    desk.wait(24_999);
    desk.assert_commands([]);
    desk.hub.heard(desk.now, b).expect("alive");
    desk.wait(1);
    desk.assert_commands(["ping a"]);
    assert_eq!(desk.hub.next_timeout(), Some(at(35_000)));
    desk.wait(10_000);
    desk.assert_commands([
        r#"send a {"event":"$bye","data":{"code":4408,"reconnect":true,"after_ms":0}}"#,
        "close a 4408 no heartbeat",
    ]);
    assert_eq!(desk.hub.next_timeout(), Some(at(49_999)));
    desk.wait(14_999);
    desk.assert_commands(["ping b"]);
    desk.hub.heard(desk.now, b).expect("alive");
    desk.wait(10_000);
    desk.assert_commands([]);
    assert_eq!(desk.hub.next_timeout(), Some(at(74_999)));
    assert_eq!(desk.hub.heard(desk.now, a), Err(UnknownConn(a)));
}

#[test]
fn a_late_timeout_acts_late_and_a_clock_that_steps_back_harms_nobody() {
    let (mut desk, [a]) = Desk::connected();
    desk.wait(1_000_000);
    desk.assert_commands(["ping a"]);
    desk.hub.handle_timeout(Timestamp::ZERO, &mut desk.out);
    desk.assert_commands([]);
    desk.hub.heard(Timestamp::ZERO, a).expect("alive");
    desk.wait(10_000);
    // Heard of long ago, by the clock: asked again, not closed.
    desk.assert_commands(["ping a"]);
}

#[test]
fn no_heartbeat() {
    let mut limits = Limits::default();
    limits.heartbeat = None;
    let mut desk = Desk::with(limits);
    desk.connect(Handshake::new()).expect("room for it");
    desk.out.clear();
    assert_eq!(desk.hub.next_timeout(), None);
    desk.wait(u64::MAX / 2);
    desk.assert_commands([]);
}

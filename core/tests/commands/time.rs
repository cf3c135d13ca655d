//! Effects of time.

use roomcast_core::{Handshake, Limits, Timestamp, UnknownConn};

use super::harness::Harness;

#[test]
fn heartbeat() {
    let (mut harness, [a, b]) = Harness::connected();
    let at = Timestamp::from_millis;
    assert_eq!(harness.hub.next_timeout(), Some(at(25_000)));
    harness.wait(24_999);
    harness.assert_commands([]);
    harness.hub.note_activity(harness.now, b).expect("alive");
    harness.wait(1);
    harness.assert_commands(["ping a"]);
    assert_eq!(harness.hub.next_timeout(), Some(at(35_000)));
    harness.wait(10_000);
    harness.assert_commands([
        r#"send a {"event":"$bye","data":{"code":4408,"reconnect":true,"after_ms":0}}"#,
        "close a 4408 no heartbeat",
    ]);
    assert_eq!(harness.hub.next_timeout(), Some(at(49_999)));
    harness.wait(14_999);
    harness.assert_commands(["ping b"]);
    harness.hub.note_activity(harness.now, b).expect("alive");
    harness.wait(10_000);
    harness.assert_commands([]);
    assert_eq!(harness.hub.next_timeout(), Some(at(74_999)));
    assert_eq!(
        harness.hub.note_activity(harness.now, a),
        Err(UnknownConn(a))
    );
}

#[test]
fn a_late_timeout_acts_late_and_a_clock_that_steps_back_harms_nobody() {
    let (mut harness, [a]) = Harness::connected();
    harness.wait(1_000_000);
    harness.assert_commands(["ping a"]);
    harness
        .hub
        .handle_timeout(Timestamp::ZERO, &mut harness.out);
    harness.assert_commands([]);
    harness
        .hub
        .note_activity(Timestamp::ZERO, a)
        .expect("alive");
    harness.wait(10_000);
    // By the clock, its last activity is long ago: it is pinged again, not closed.
    harness.assert_commands(["ping a"]);
}

#[test]
fn no_heartbeat() {
    let mut limits = Limits::default();
    limits.heartbeat = None;
    let mut harness = Harness::with(limits);
    harness.connect(Handshake::new()).expect("room for it");
    harness.out.clear();
    assert_eq!(harness.hub.next_timeout(), None);
    harness.wait(u64::MAX / 2);
    harness.assert_commands([]);
}

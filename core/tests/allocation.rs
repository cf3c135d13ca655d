//! The hot path allocates nothing once its buffers are warm.

use allocation_counter::measure;
use roomcast_core::{
    Audience, Config, ConnId, Frame, Handshake, Hub, Limits, Outbox, Payload, Timestamp,
};

const NOW: Timestamp = Timestamp::ZERO;

/// A hub without rate limits, and connections in the room `r`.
fn crowd(count: usize) -> (Hub, Vec<ConnId>, Outbox) {
    let mut limits = Limits::default();
    (limits.inbound_messages, limits.inbound_bytes) = (None, None);
    let mut hub = Hub::new(Config::new("e").with_limits(limits));
    let mut out = Outbox::new();
    let conns = (0..count).map(|_| {
        let conn = hub
            .connect(NOW, Handshake::new(), &mut out)
            .expect("room for it");
        hub.join(NOW, conn, "r", &mut out).expect("a join");
        conn
    });
    let conns = conns.collect();
    out.clear();
    (hub, conns, out)
}

/// Runs `turn` once to warm the buffers, then asserts that 100 more runs allocate nothing.
#[track_caller]
fn assert_free(mut turn: impl FnMut()) {
    turn();
    let allocated = measure(|| (0..100).for_each(|_| turn()));
    assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0));
}

#[test]
fn a_publish_to_1_000_members_allocates_nothing() {
    let (mut hub, conns, mut out) = crowd(1_000);
    let text = r#"{"event":"said","id":1,"room":"r","data":{"text":"hello"}}"#;
    assert_free(|| {
        let message = hub
            .receive(NOW, conns[500], Frame::Text(text), &mut out)
            .expect("alive");
        let message = message.expect("for the application");
        let delivery = hub.publish(NOW, &message, &mut out).expect("alive");
        assert_eq!(delivery.queued, 999);
        out.clear();
    });
}

#[test]
fn a_send_to_1_000_connections_allocates_nothing() {
    let (mut hub, conns, mut out) = crowd(1_000);
    let data = Payload::parse(r#"{"text":"hello"}"#).expect("JSON");
    for (audience, count) in [
        (Audience::room("r"), 1_000),
        (Audience::all(), 1_000),
        (Audience::rooms(["r", "r"]).and_conn(conns[3]), 1_000),
        (Audience::room("r").except_conn(conns[3]), 999),
    ] {
        assert_free(|| {
            let delivery = hub
                .send(NOW, &audience, "told", data, &mut out)
                .expect("encodable");
            assert_eq!(delivery.queued, count);
            out.clear();
        });
    }
}

#[test]
fn verbs_that_change_nothing_allocate_nothing() {
    let (mut hub, conns, mut out) = crowd(2);
    for text in [
        r#"{"event":"$ping"}"#,
        r#"{"event":"$join","id":1,"room":"r"}"#,
        r#"{"event":"$leave","id":1,"room":"other"}"#,
    ] {
        assert_free(|| {
            let answered = hub.receive(NOW, conns[0], Frame::Text(text), &mut out);
            assert_eq!(answered, Ok(None));
            out.clear();
        });
    }
}

#[test]
fn hearing_of_a_connection_allocates_nothing() {
    let (mut hub, conns, mut out) = crowd(2);
    assert_free(|| {
        hub.note_activity(NOW, conns[0]).expect("alive");
        hub.handle_timeout(NOW, &mut out);
        assert!(out.is_empty());
    });
}

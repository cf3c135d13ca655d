//! Idempotency keys of clients.

use roomcast_core::{
    Config, ConnId, DisconnectReason, Handshake, Hub, Limits, Timestamp, hub::ClientKeyState,
    hub::HubState,
};

use super::harness::{Harness, lines};

/// A durable hub, with a member of the room `r`.
fn durable(limits: Limits) -> (Harness, ConnId) {
    let mut harness = Harness::new();
    let config = Config::new("e").with_limits(limits).with_durable(true);
    harness.hub = Hub::new(config);
    let member = connect(&mut harness);
    harness.join(member, "r");
    (harness, member)
}

fn connect(harness: &mut Harness) -> ConnId {
    let conn = harness.connect(Handshake::new()).expect("room for it");
    harness.out.clear();
    conn
}

/// Publishes a number under a key; returns the number of commands that do not concern keys, and the
/// keys to save or to delete.
fn publish(harness: &mut Harness, conn: ConnId, key: &str, number: u32) -> (usize, Vec<String>) {
    let text = format!(r#"{{"event":"e","room":"r","key":"{key}","data":{number}}}"#);
    harness.text(conn, &text);
    let lines = lines(&harness.out);
    harness.out.clear();
    harness.hub.assert_consistent();
    let (keys, others): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line.starts_with("persist key"));
    (others.len(), keys)
}

#[test]
fn a_key_is_saved_between_its_message_and_the_answer() {
    let (mut harness, _member) = durable(Limits::default());
    let conn = connect(&mut harness);
    let text = r#"{"event":"e","id":1,"room":"r","key":"k","data":2}"#;
    harness.text(conn, text);
    let answer = r#"send b {"event":"e","id":1,"room":"r","data":{"reached":1}}"#;
    harness.assert_commands([
        r#"send a {"event":"e","room":"r","from":{"conn":"1048577"},"data":2}"#,
        "persist key k of c1048577",
        answer,
    ]);
    harness.text(conn, text);
    harness.assert_commands([answer]);
    // Without a request id there is no answer.
    harness.text(conn, &text.replace(r#""id":1,"#, ""));
    harness.assert_commands([]);
    harness.text(conn, &text.replace(r#""data":2"#, r#""data":3"#));
    harness.assert_error(r#"send b {"event":"e","id":1,"room":"r""#, "key_reused");
}

#[test]
fn a_hub_saved_key_by_key_is_the_same() {
    let (mut harness, member) = durable(Limits::default());
    let ann = Handshake::new().with_user("ann");
    let ann = harness.connect(ann).expect("room for it");
    harness.out.clear();
    let mut saved = HubState::from_serial(2);
    for (conn, client) in [(member, "c0"), (ann, "uann"), (member, "c0")] {
        let key = format!("k{}", harness.now.as_millis());
        let (_, keys) = publish(&mut harness, conn, &key, 1);
        assert_eq!(keys, [format!("persist key {key} of {client}")]);
        let state = harness.hub.client_key_state(client, &key).expect("known");
        assert_eq!((state.client(), state.key()), (client, &*key));
        let expires = Timestamp::from_millis(harness.now.as_millis() + 300_000);
        assert_eq!(state.expires(), expires);
        let json = serde_json::to_string(&state).expect("data");
        let state: ClientKeyState = serde_json::from_str(&json).expect("a state");
        saved = saved.with_client_keys([state]);
        harness.wait(1);
    }
    assert_eq!(saved, harness.hub.state());
    assert_eq!(harness.hub.client_key_state("c0", "k1"), None);
}

#[test]
fn a_client_has_its_newest_keys() {
    let mut limits = Limits::default();
    limits.idempotency_keys_per_client = 2;
    let (mut harness, _member) = durable(limits);
    let (conn, other) = (connect(&mut harness), connect(&mut harness));
    let of = |key: &str, conn: ConnId| format!("persist key {key} of c{conn}");
    assert_eq!(
        publish(&mut harness, other, "k", 1),
        (1, vec![of("k", other)])
    );
    assert_eq!(
        publish(&mut harness, conn, "k1", 1),
        (1, vec![of("k1", conn)])
    );
    assert_eq!(
        publish(&mut harness, conn, "k2", 2),
        (1, vec![of("k2", conn)])
    );
    let gone = vec![of("k3", conn), of("k1", conn)];
    assert_eq!(publish(&mut harness, conn, "k3", 3), (1, gone));
    let client = format!("c{conn}");
    assert_eq!(harness.hub.client_key_state(&client, "k1"), None);
    assert_eq!(publish(&mut harness, conn, "k2", 2), (0, vec![]));
    assert_eq!(publish(&mut harness, other, "k", 1), (0, vec![]));
}

/// Clients with many keys never evict the key of a client that has one.
#[test]
fn who_has_few_keys_keeps_them() {
    let mut limits = Limits::default();
    (limits.idempotency_keys, limits.idempotency_keys_per_client) = (8, 3);
    let (mut harness, member) = durable(limits);
    publish(&mut harness, member, "k", 0);
    for _ in 0..4 {
        let conn = connect(&mut harness);
        for number in 0..5 {
            let key = format!("k{number}");
            assert_eq!(publish(&mut harness, conn, &key, number).0, 1);
        }
        assert_eq!(publish(&mut harness, conn, "k4", 4).0, 0);
        harness.wait(1);
    }
    assert_eq!(publish(&mut harness, member, "k", 0), (0, vec![]));
}

#[test]
fn keys_are_trimmed_to_a_number_those_of_who_has_most_first() {
    let (mut harness, member) = durable(Limits::default());
    publish(&mut harness, member, "k", 0);
    let conn = connect(&mut harness);
    for number in 0..4 {
        publish(&mut harness, conn, &format!("k{number}"), number);
    }
    let trim = |harness: &mut Harness, keys_max| {
        let now = harness.now;
        let Harness { hub, out, .. } = harness;
        hub.trim_client_keys(now, keys_max, out);
        hub.assert_consistent();
        let lines = lines(out);
        out.clear();
        lines
    };
    assert_eq!(trim(&mut harness, 5), [""; 0]);
    let gone = ["k0", "k1", "k2"].map(|key| format!("persist key {key} of c{conn}"));
    assert_eq!(trim(&mut harness, 2), gone);
    assert_eq!(harness.hub.client_keys(), 2);
    assert_eq!(publish(&mut harness, member, "k", 0), (0, vec![]));
    // Expired keys are dropped without commands.
    harness.wait(300_000);
    harness.out.clear();
    assert_eq!(trim(&mut harness, 1), [""; 0]);
    assert_eq!(harness.hub.client_keys(), 0);
}

#[test]
fn keys_keep_a_hub_from_being_idle_until_they_expire() {
    let (mut harness, member) = durable(Limits::default());
    publish(&mut harness, member, "k", 0);
    let left = DisconnectReason::Lost;
    let (now, Harness { hub, out, .. }) = (harness.now, &mut harness);
    hub.disconnect(now, member, left, out).expect("alive");
    let at = Timestamp::from_millis;
    assert!(!hub.is_idle(at(299_999)) && hub.is_idle(at(300_000)));
    // Keys of clients do not count, only those of backends.
    assert!(!hub.remembers_keys(now));
}

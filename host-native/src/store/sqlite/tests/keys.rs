//! Idempotency keys in the store.

use roomcast_core::{ConnId, Frame, Handshake, hub::ClientKeyState, hub::KeyState};

use super::*;

#[test]
fn keys_are_remembered() {
    let mut kit = Kit::new();
    let (store, mut out) = (kit.open(), Outbox::new());
    let audience = Audience::room("r");
    let sent = kit
        .hub
        .send_once(kit.now, "key", &audience, "e", Payload::NULL, &mut out);
    assert_eq!(sent.expect("valid").offset, Some(1));
    let mut batch = Batch::default();
    let key: KeyState = kit.hub.key_state(kit.now, "key").expect("known");
    batch.set_key(kit.now, &NAME.into(), header(&kit.hub), key.clone());
    store.commit(&batch).expect("written");
    kill(store);
    let store = kit.open();
    let kept = store.load(NAME, 200).expect("readable").expect("kept");
    assert_eq!((kept.keys, kept.header), (vec![key], header(&kit.hub)));

    // Expired keys are removed.
    let sent = kit
        .hub
        .send_once(kit.now, "next", &audience, "e", Payload::NULL, &mut out);
    sent.expect("valid");
    let mut batch = Batch::default();
    let next: KeyState = kit.hub.key_state(kit.now, "next").expect("known");
    let later = next.expires();
    batch.set_key(later, &NAME.into(), header(&kit.hub), next.clone());
    store.commit(&batch).expect("written");
    let kept = store.load(NAME, 200).expect("readable").expect("kept");
    assert_eq!(kept.keys, [next]);
}

/// Connects a client, which publishes under a key.
fn publish(kit: &mut Kit, key: &str) -> ConnId {
    let (now, mut out) = (kit.now, Outbox::new());
    let conn = kit.hub.connect(now, Handshake::new(), &mut out);
    let conn = conn.expect("room for it");
    let text = format!(r#"{{"event":"e","room":"q","key":"{key}"}}"#);
    let message = kit.hub.receive(now, conn, Frame::Text(&text), &mut out);
    let message = message.expect("alive").expect("a message");
    let sent = kit.hub.publish(now, &message, &mut Outbox::new());
    sent.expect("alive");
    conn
}

fn set(kit: &Kit, store: &Store, now: Timestamp, (conn, key): (ConnId, &str)) -> ClientKeyState {
    let client = format!("c{conn}");
    let state = kit.hub.client_key_state(&client, key);
    let mut batch = Batch::default();
    let of = (client.into(), key.into(), state.clone());
    batch.set_client_key(now, &NAME.into(), header(&kit.hub), of);
    store.commit(&batch).expect("written");
    state.expect("known")
}

fn client_keys(store: &Store) -> Vec<ClientKeyState> {
    let kept = store.load(NAME, 200).expect("readable");
    kept.expect("kept").client_keys
}

#[test]
fn keys_of_clients_are_remembered_and_forgotten() {
    let mut kit = Kit::new();
    let store = kit.open();
    let (first, second) = (publish(&mut kit, "k"), publish(&mut kit, "k"));
    let one = set(&kit, &store, kit.now, (first, "k"));
    let two = set(&kit, &store, kit.now, (second, "k"));
    kill(store);
    let store = kit.open();
    assert_eq!(client_keys(&store), [one.clone(), two.clone()]);
    // The hub has no such key any more.
    let mut batch = Batch::default();
    let gone = (one.client().into(), one.key().into(), None);
    batch.set_client_key(kit.now, &NAME.into(), header(&kit.hub), gone);
    store.commit(&batch).expect("written");
    assert_eq!(client_keys(&store), std::slice::from_ref(&two));
    // The other key has expired when a third one is stored.
    kit.now = two.expires();
    let third = publish(&mut kit, "k");
    let three = set(&kit, &store, kit.now, (third, "k"));
    assert_eq!(client_keys(&store), [three]);
}

/// Older stores have no table of client keys.
#[test]
fn a_store_without_the_table_gets_it() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 3);
    store.close().expect("closed");
    drop(store);
    kit.meddle("DROP TABLE client_keys");
    assert_eq!(kit.found("r"), ("epoch.1".into(), 3, vec![1, 2, 3]));
    let store = kit.open();
    let conn = publish(&mut kit, "k");
    let state = set(&kit, &store, kit.now, (conn, "k"));
    kill(store);
    assert_eq!(client_keys(&kit.open()), [state]);
}

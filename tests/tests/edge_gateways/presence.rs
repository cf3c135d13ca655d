//! Presence of users in a room while its object sleeps.

use tokio_tungstenite::tungstenite::Message;

use super::world::{Client, World};

const JOIN: &str = r#"{"event":"$join","room":"den"}"#;

/// Joins, and is told nothing else.
fn joins(client: &mut Client<'_>) {
    client.send(JOIN);
    match client.next() {
        Some(Message::Text(text))
            if text.starts_with(r#"{"event":"$join","room":"den","data""#) => {}
        other => panic!("an answer is expected: {other:?}"),
    }
}

/// An alarm ends the wait, in an object that is in memory for nothing else.
#[test]
fn a_user_is_waited_for_through_sleep() {
    // Long enough to come back in time on a busy machine.
    let world = World::sleepless_with("den presence=members presence_grace_s=8");
    let mut ann = world.connect_as("trials", "?user=ann");
    joins(&mut ann);
    let mut bob = world.connect_as("trials", "?user=bob");
    joins(&mut bob);
    ann.gets(r#"{"event":"$joined","room":"den","data":{"user":"bob"}}"#);
    // Back in time: as if never away.
    bob.close();
    let mut bob = world.connect_as("trials", "?user=bob");
    joins(&mut bob);
    ann.asks(
        r#"{"event":"$members","id":1,"room":"den"}"#,
        r#"{"event":"$members","id":1,"room":"den","data":{"members":[{"user":"ann","conns":1},{"user":"bob","conns":1}],"users":2,"conns":2}}"#,
    );
    bob.close();
    world.evict("trials");
    ann.gets(r#"{"event":"$left","room":"den","data":{"user":"bob"}}"#);
    world.is_calm();
}

//! A node that dies, and one that stalls for longer than its lease: no user stays behind, and each
//! end is reported once.

use std::collections::BTreeMap;

use super::broker::{LEASE_MS, Plants};
use super::story::Story;

/// A fixed story: ann twice and a guest on the first node, ben on the second, another guest on the
/// third. All are in a room that shows its members, and know each other.
fn begin() -> Story {
    let mut story = Story::new(1, Plants::default(), false);
    for (client, node) in [(0, 0), (1, 0), (3, 0), (2, 1), (4, 2)] {
        story.connect_to(client, node);
        story.join(client, "den");
        story.drain();
    }
    for client in [0, 1, 2, 3, 4] {
        story.list_members(client, "den");
    }
    story.drain();
    assert_eq!(
        told(&mut story),
        ["room.occupied", "user.joined ann", "user.joined ben"]
    );
    story
}

/// Takes the events that backends received, sorted, since the order across nodes is undefined.
fn told(story: &mut Story) -> Vec<String> {
    let tells = std::mem::take(&mut story.tells).into_iter();
    let mut told: Vec<_> = tells
        .map(|json| {
            let event: BTreeMap<String, String> = serde_json::from_str(&json).expect("an event");
            assert_eq!(event["room"], "den");
            let user = event
                .get("user")
                .map_or(String::new(), |user| format!(" {user}"));
            format!("{}{user}", event["type"])
        })
        .collect();
    told.sort();
    told
}

/// The notices that the clients on the other nodes got.
fn notices(story: &Story) -> [u64; 2] {
    [2, 4].map(|client| story.clients[client].told.notices)
}

fn wait(story: &mut Story, millis: u64) {
    for _ in 0..millis / 1_000 {
        story.wait(1_000);
        story.drain();
    }
}

#[test]
fn users_of_a_dead_node_are_gone_with_its_lease_and_each_is_told_once() {
    let mut story = begin();
    let before = notices(&story);
    story.kill(0);
    wait(&mut story, 4_000);
    assert_eq!(notices(&story), before, "its lease has not ended");
    wait(&mut story, LEASE_MS);
    // Ann, and the guest.
    assert_eq!(notices(&story), before.map(|count| count + 2));
    assert_eq!(told(&mut story), ["user.left ann"]);
    wait(&mut story, 70_000);
    assert_eq!(notices(&story), before.map(|count| count + 2));
    assert_eq!(told(&mut story), [""; 0]);
    for client in [2, 4] {
        story.list_members(client, "den");
        story.drain();
        assert_eq!(story.clients[client].seen["den"].page.len(), 2);
    }
}

#[test]
fn a_node_that_stood_still_beyond_its_lease_enters_its_users_again() {
    let mut story = begin();
    let before = notices(&story);
    story.nodes[0].stopped = true;
    wait(&mut story, 2 * LEASE_MS);
    assert_eq!(notices(&story), before.map(|count| count + 2));
    assert_eq!(told(&mut story), ["user.left ann"]);
    story.nodes[0].stopped = false;
    wait(&mut story, 10_000);
    assert_eq!(notices(&story), before.map(|count| count + 4));
    assert_eq!(told(&mut story), ["user.joined ann"]);
    wait(&mut story, 70_000);
    assert_eq!(notices(&story), before.map(|count| count + 4));
    assert_eq!(told(&mut story), [""; 0]);
    for client in 0..5 {
        story.list_members(client, "den");
        story.drain();
        let page = &story.clients[client].seen["den"].page;
        assert_eq!((page.len(), page["ann"]), (4, 2));
    }
}

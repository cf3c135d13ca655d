//! Rooms that are remembered, and their list.

use std::time::Instant;

use roomcast_relay::{Address, Presence, Relay, RoomList};

use crate::{
    node::{Node, message, once, room},
    presence::present,
    server::{PATIENCE, Server},
};

/// Sets whether a node has members in the room `r`, which is remembered for `age_ms` without any.
async fn occupy(node: &Node, connections: u32, age_ms: &'static str) {
    occupy_room(node, "r", connections, age_ms).await;
}

async fn occupy_room(node: &Node, name: &str, connections: u32, age_ms: &'static str) {
    let presence = Presence {
        address: room(&format!("\u{1}{name}")),
        user: "*".into(),
        connections,
        is_awaited: false,
        meta: age_ms.into(),
    };
    node.relay.set_present(&presence).await.unwrap();
}

async fn list(node: &Node, prefix: &str, after: Option<&str>, rooms_max: usize) -> Vec<String> {
    let list = RoomList {
        namespace: "ns".into(),
        prefix: prefix.into(),
        after: after.map(Into::into),
        rooms_max,
    };
    let rooms = node.relay.rooms(&list).await.unwrap();
    rooms.into_iter().map(Into::into).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_nothing_was_said_in_is_forgotten_soon() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    let room = room("r");
    let minutes = |key: &str| {
        let left: u64 = server.run(&format!("PTTL roomcast:{{ns}}:{key}"));
        left.div_ceil(60_000)
    };
    node.position(&room).await;
    assert_eq!(minutes("m:r"), 10, "somebody looked at it");
    occupy(&node, 1, "600000").await;
    occupy(&node, 0, "600000").await;
    assert_eq!(minutes("m:\u{1}r"), 10, "it counts nodes");
    node.publish(&Address::room("ns", "said"), "hi").await;
    assert_eq!(minutes("m:said"), 24 * 60);
    let other = Address::room("ns", "other");
    let ann = present(&other, "ann", 1);
    node.relay.set_present(&ann).await.unwrap();
    assert_eq!(minutes("m:other"), 10, "somebody is there");
    node.publish(&other, "hi").await;
    assert_eq!(minutes("m:other"), 24 * 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_nothing_was_kept_in_is_forgotten_sooner_than_others() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    let room = room("r");
    let minutes = || {
        let left: u64 = server.run("PTTL roomcast:{ns}:m:r");
        left.div_ceil(60_000)
    };
    let mut plain = message(&room, "hi");
    plain.retention.messages = 0;
    plain.once = Some(once("short", 1));
    for _ in 0..2 {
        node.relay.publish(&plain).await.unwrap();
        assert_eq!(minutes(), 60);
        node.position(&room).await;
        assert_eq!(minutes(), 60, "somebody looked at it");
    }
    let mut known = once("long", 1);
    known.expiry_ms = 2 * 60 * 60_000;
    plain.once = Some(known);
    node.relay.publish(&plain).await.unwrap();
    node.position(&room).await;
    assert_eq!(minutes(), 120, "as long as its key");
    node.publish(&room, "hi").await;
    assert_eq!(minutes(), 24 * 60, "as of a room with a history");
    node.position(&room).await;
    assert_eq!(minutes(), 24 * 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_without_members_is_listed_for_its_time_and_then_forgotten() {
    let server = Server::start(&[]);
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    let room = room("r");
    let first = a.position(&room).await;
    assert!(list(&a, "", None, 10).await.is_empty(), "nothing was said");
    for (node, connections) in [(&a, 1), (&b, 1), (&a, 0), (&b, 0)] {
        assert!(list(&a, "", None, 10).await.is_empty(), "nodes list it");
        occupy(node, connections, "600000").await;
    }
    assert_eq!(list(&a, "", None, 10).await, ["r"]);
    assert_eq!(a.position(&room).await, first, "whoever looks at it");
    let left: u64 = server.run("PTTL roomcast:{ns}:m:r");
    assert!(left <= 60_000, "nothing was said: a minute, not {left} ms");

    occupy(&a, 1, "1").await;
    let left: u64 = server.run("PTTL roomcast:{ns}:m:r");
    assert!(left > 60_000, "{left} ms with members");
    occupy(&a, 0, "1").await;
    let began = Instant::now();
    while a.position(&room).await.epoch == first.epoch {
        assert!(began.elapsed() < PATIENCE, "the room stays");
    }
    assert!(list(&a, "", None, 10).await.is_empty(), "it has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_were_left_and_ended_leave_the_index_with_further_ones() {
    const COUNT: u64 = 200;
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    for kind in ["old", "new"] {
        for number in 0..COUNT {
            let name = format!("{kind}{number}");
            node.position(&room(&name)).await;
            for connections in [1, 0] {
                occupy_room(&node, &name, connections, "600000").await;
            }
        }
        let metas: Vec<_> = (0..COUNT)
            .map(|number| format!("roomcast:{{ns}}:m:old{number}"))
            .collect();
        // As after their minute.
        server.run::<u64>(&format!("DEL {}", metas.join(" ")));
        let indexed: u64 = server.run("ZCARD roomcast:{ns}:r");
        assert!(indexed >= COUNT, "{indexed} of the {kind} ones");
        assert!(indexed < COUNT * 3 / 2, "{indexed} with the {kind} ones");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_remembered_for_as_long_as_a_node_said_last() {
    let server = Server::start(&[]);
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    let minutes = || {
        let left: u64 = server.run("PTTL roomcast:{ns}:m:r");
        left.div_ceil(60_000)
    };
    a.publish(&room("r"), "hi").await;
    occupy(&a, 1, "").await;
    occupy(&b, 1, "").await;
    // A history begins, and its age changes, while both have members.
    for age_ms in ["600000", "1200000"] {
        occupy(&a, 1, age_ms).await;
        occupy(&b, 1, age_ms).await;
    }
    occupy(&a, 0, "1200000").await;
    assert_eq!(minutes(), 24 * 60, "b has members");
    occupy(&a, 0, "600000").await;
    occupy(&b, 0, "1200000").await;
    assert_eq!(minutes(), 20);
    occupy(&b, 0, "600000").await;
    assert!(
        !server.run::<bool>("EXISTS roomcast:{ns}:i:\u{1}r"),
        "nobody is left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_read_in_parts() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    let names: Vec<_> = (0..300).map(|number| format!("r{number:03}")).collect();
    for name in &names {
        let kept = message(&room(name), "hi");
        node.relay.publish(&kept).await.unwrap();
    }
    let everybody = message(&Address::all("ns"), "hi");
    node.relay.publish(&everybody).await.unwrap();
    assert_eq!(list(&node, "", None, 1_000).await, names);
    assert_eq!(list(&node, "r1", None, 3).await, names[100..103]);
    assert_eq!(list(&node, "r1", Some("r198"), 3).await, ["r199"]);
    assert_eq!(list(&node, "r1", Some("a"), 1).await, ["r100"]);
    assert!(list(&node, "r1", Some("s"), 1).await.is_empty());
    // Those that have ended leave the list.
    server.run::<u64>("DEL roomcast:{ns}:m:r000 roomcast:{ns}:h:r000");
    assert_eq!(list(&node, "", None, 1).await, ["r001"]);
    let listed: u64 = server.run("ZCARD roomcast:{ns}:r");
    assert_eq!(listed, 299);
}

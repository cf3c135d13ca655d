//! Order, idempotency, retention and reads.

use std::{collections::HashSet, time::Duration};

use roomcast_relay::{Address, Event, Once, Publish, Read, Relay, RelayError, Retention, Start};

use crate::{
    node::{Node, message, once, room, text},
    server::{Server, wait_for},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_publishers_give_one_order_at_every_node() {
    const EACH: usize = 200;
    let server = Server::start(&[]);
    let room = room("r");
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = Node::start(&server).await;
        node.relay
            .subscribe(std::slice::from_ref(&room))
            .await
            .unwrap();
        nodes.push(node);
    }
    let mut acknowledged = Vec::new();
    {
        let publish = async |number: usize| {
            let mut offsets = Vec::new();
            for count in 0..EACH {
                let body = format!("{number}.{count}");
                offsets.push((nodes[number].publish(&room, &body).await.offset, body));
            }
            offsets
        };
        let (a, b, c) = tokio::join!(publish(0), publish(1), publish(2));
        for offsets in [a, b, c] {
            assert!(offsets.is_sorted(), "the order of one publisher is kept");
            acknowledged.extend(offsets);
        }
    }
    acknowledged.sort();
    let offsets: Vec<_> = acknowledged.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (1..=3 * EACH as u64).collect::<Vec<_>>());
    for node in &mut nodes {
        assert_eq!(node.messages(&room, 3 * EACH).await, acknowledged);
        assert_eq!(node.relay.counters().snapshot().foreign, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_gives_one_offset_and_one_delivery_on_any_node() {
    let server = Server::start(&[]);
    let room = room("r");
    let (mut a, b) = (Node::start(&server).await, Node::start(&server).await);
    a.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    let mut publish = message(&room, "hi");
    publish.once = Some(once("ann:k", 7));
    let first = a.relay.publish(&publish).await.unwrap();
    assert!(!first.is_repeated);
    let again = b.relay.publish(&publish).await.unwrap();
    assert!(again.is_repeated);
    assert_eq!((again.epoch, again.offset), (first.epoch, first.offset));

    // A retry of the same attempt is not marked as repeated, since the attempt was never answered.
    let attempt = |attempt_id: &str| {
        let mut publish = message(&room, "attempted");
        let attempt_id = attempt_id.into();
        publish.once = Some(Once {
            attempt_id,
            ..once("ann:l", 7)
        });
        publish
    };
    for (node, id, is_repeated) in [(&a, "x", false), (&a, "x", false), (&b, "y", true)] {
        let published = node.relay.publish(&attempt(id)).await.unwrap();
        assert_eq!((published.offset, published.is_repeated), (2, is_repeated));
    }

    publish.once = Some(once("ann:k", 8));
    assert_eq!(a.relay.publish(&publish).await, Err(RelayError::KeyReused));
    b.publish(&room, "end").await;
    let delivered = a.messages(&room, 3).await;
    let expected = [(1, "hi"), (2, "attempted"), (3, "end")];
    assert_eq!(delivered, expected.map(|(at, body)| (at, body.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_forgotten_when_its_time_is_over() {
    let server = Server::start(&[]);
    let room = room("r");
    let node = Node::start(&server).await;
    let mut publish = message(&room, "hi");
    let mut short = once("k", 1);
    short.expiry_ms = 1;
    publish.once = Some(short);
    node.publish(&room, "first").await;
    node.relay.publish(&publish).await.unwrap();
    let exists = "EXISTS roomcast:{ns}:k:k";
    wait_for("the key stays", || server.run::<u64>(exists) == 0);
    assert_eq!(node.relay.publish(&publish).await.unwrap().offset, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audiences_have_a_counter_of_their_own() {
    let server = Server::start(&[]);
    let (room, all) = (room("r"), Address::all("ns"));
    let mut node = Node::start(&server).await;
    let both = [room.clone(), all.clone()];
    node.relay.subscribe(&both).await.unwrap();
    assert_eq!(node.publish(&room, "room").await.offset, 1);
    assert_eq!(node.publish(&all, "everybody").await.offset, 1);
    assert_eq!(node.publish(&all, "again").await.offset, 2);
    let received = |event: &Event| match event {
        Event::Message {
            address,
            offset,
            body,
            ..
        } => Some((address.clone(), *offset, text(body))),
        _ => None,
    };
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(node.until("message", received).await);
    }
    let expected = [
        (room, 1, "room".to_owned()),
        (all.clone(), 1, "everybody".to_owned()),
        (all, 2, "again".to_owned()),
    ];
    assert_eq!(order, expected, "one order per namespace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_what_its_room_wants_and_is_read_from_both_ends() {
    let server = Server::start(&[]);
    let room = room("r");
    let node = Node::start(&server).await;
    let mut publish = message(&room, "");
    publish.retention.messages = 5;
    for count in 1..=9 {
        publish.body = format!("m{count}").into();
        assert_eq!(node.relay.publish(&publish).await.unwrap().offset, count);
    }
    let epoch = node.position(&room).await.epoch;
    let read = async |read: Read| {
        let page = node.relay.read(&read).await.unwrap();
        assert_eq!(page.position.offset, 9);
        let bodies = page.messages.iter();
        let bodies: Vec<_> = bodies.map(|kept| (kept.offset, text(&kept.body))).collect();
        assert!(
            bodies
                .iter()
                .all(|(offset, body)| *body == format!("m{offset}"))
        );
        let offsets: Vec<_> = bodies.into_iter().map(|(offset, _)| offset).collect();
        (offsets, page.is_whole)
    };
    let after = |offset| Read::after(room.clone(), epoch.clone(), offset);
    assert_eq!(read(after(6)).await, (vec![7, 8, 9], true));
    assert_eq!(read(after(4)).await, (vec![5, 6, 7, 8, 9], true));
    assert_eq!(read(after(3)).await, (vec![], false), "trimmed");
    assert_eq!(read(after(9)).await, (vec![], true));
    assert_eq!(read(after(12)).await, (vec![], false), "of nobody");
    let foreign = Read::after(room.clone(), "other", 6);
    assert_eq!(read(foreign).await, (vec![], false));
    let mut few = after(5);
    few.messages_max = 2;
    assert_eq!(read(few.clone()).await, (vec![6, 7], true));
    few.messages_max = 100;
    few.bytes_max = 3;
    assert_eq!(
        read(few.clone()).await,
        (vec![6, 7], true),
        "the second passes"
    );
    let mut newest = Read::position(room.clone());
    newest.start = Start::Before(None);
    assert_eq!(read(newest.clone()).await, (vec![9, 8, 7, 6, 5], true));
    newest.start = Start::Before(Some(7));
    assert_eq!(read(newest.clone()).await, (vec![6, 5], true));
    newest.start = Start::Before(Some(1));
    assert_eq!(read(newest).await, (vec![], true));
    assert_eq!(read(Read::position(room.clone())).await, (vec![], true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_the_bytes_that_its_room_wants() {
    let server = Server::start(&[]);
    let room = room("r");
    let node = Node::start(&server).await;
    let mut publish = message(&room, "");
    publish.retention.bytes = 10;
    let first = async |publish: &Publish| {
        node.relay.publish(publish).await.unwrap();
        let page = node.relay.read(&Read::position(room.clone())).await;
        page.unwrap().first
    };
    let mut firsts = Vec::new();
    for body in [
        "1234",
        "5678",
        "90",
        "1",
        "12345678",
        "12345678901",
        "1",
        "2",
    ] {
        publish.body = body.into();
        firsts.push(first(&publish).await);
    }
    // The sixth is too large for the room.
    assert_eq!(firsts, [1, 1, 1, 2, 4, 7, 7, 7]);

    // Its retention time is over.
    publish.retention.age_ms = 1;
    first(&publish).await;
    let streams = |server: &Server| {
        let keys: Vec<String> = server.run("KEYS roomcast:*");
        let is_stream = |key: &&String| server.run::<String>(&format!("TYPE {key}")) == "stream";
        keys.iter().filter(is_stream).count()
    };
    wait_for("a stream stays", || streams(&server) == 0);
    publish.retention.age_ms = 0;
    publish.body = "1234567890".into();
    assert_eq!(first(&publish).await, 10, "nothing is left to count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_takes_away_many_messages_and_no_more() {
    const MANY: u32 = Retention::TRIM_MAX + 100;
    let server = Server::start(&[]);
    let room = room("r");
    let node = Node::start(&server).await;
    let mut publish = message(&room, "hi");
    publish.retention.messages = MANY;
    for _ in 0..MANY {
        node.relay.publish(&publish).await.unwrap();
    }
    publish.retention.messages = 5;
    let mut firsts = Vec::new();
    for _ in 0..2 {
        node.relay.publish(&publish).await.unwrap();
        let page = node.relay.read(&Read::position(room.clone())).await;
        firsts.push(page.unwrap().first);
    }
    let most = u64::from(Retention::TRIM_MAX);
    assert_eq!(firsts, [most + 1, u64::from(MANY) + 2 - 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_without_history_has_a_counter() {
    let server = Server::start(&[]);
    let room = room("r");
    let node = Node::start(&server).await;
    let mut publish = message(&room, "hi");
    publish.retention = Retention::default();
    for offset in 1..=3 {
        assert_eq!(node.relay.publish(&publish).await.unwrap().offset, offset);
    }
    let epoch = node.position(&room).await.epoch;
    let page = node.relay.read(&Read::after(room, epoch, 1)).await.unwrap();
    assert_eq!((page.messages.len(), page.is_whole), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_remembered_as_long_as_its_history_and_its_keys() {
    const MINUTE: u64 = 60_000;
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        settings.timing.room = Duration::from_secs(2 * 60);
    })
    .await;
    let (mut old, mut keyed) = (message(&room("old"), "hi"), message(&room("keyed"), "hi"));
    old.retention.age_ms = 5 * MINUTE;
    keyed.once = Some(once("k", 1));
    for (publish, minutes) in [(&message(&room("r"), "hi"), 2), (&old, 5), (&keyed, 10)] {
        node.relay.publish(publish).await.unwrap();
        let key = format!("PTTL roomcast:{{ns}}:m:{}", room_of(publish));
        let kept: u64 = server.run(&key);
        assert!(
            kept > (minutes - 1) * MINUTE && kept <= minutes * MINUTE,
            "{kept}"
        );
        // The next command on the room does not shorten the expiry.
        server.run::<()>(&format!(
            "PEXPIRE roomcast:{{ns}}:m:{} 30000",
            room_of(publish)
        ));
        node.position(&publish.address).await;
        let kept: u64 = server.run(&key);
        assert!(
            kept > (minutes - 1) * MINUTE && kept <= minutes * MINUTE,
            "{kept}"
        );
    }
}

fn room_of(publish: &Publish) -> String {
    let address = publish.address.to_string();
    address.trim_start_matches("ns/").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_many_rooms_come_in_their_order() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    let rooms: Vec<_> = (0..250).map(|number| room(&number.to_string())).collect();
    node.publish(&rooms[3], "a").await;
    node.publish(&rooms[249], "a").await;
    node.publish(&rooms[249], "b").await;
    let positions = node.relay.positions(&rooms).await.unwrap();
    let offsets: Vec<_> = positions.iter().map(|position| position.offset).collect();
    assert_eq!(offsets.len(), 250);
    assert_eq!(
        (offsets[3], offsets[249], offsets.iter().sum::<u64>()),
        (1, 2, 3)
    );
    // An empty room keeps the epoch that it was assigned.
    let published = node.publish(&rooms[0], "first").await;
    assert_eq!(
        (published.epoch, published.offset),
        (positions[0].epoch.clone(), 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    server.run::<()>("SCRIPT FLUSH");
    assert_eq!(node.publish(&room("r"), "hi").await.offset, 1);
    server.run::<()>("SCRIPT FLUSH");
    assert_eq!(node.position(&room("r")).await.offset, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_leave_together_are_answered_each_for_itself() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    let subscribed = node.relay.subscribe(std::slice::from_ref(&room)).await;
    subscribed.unwrap();
    // All publishes are one call: a late or missing answer would shift the answers of the others.
    server.run::<()>("SCRIPT FLUSH");
    let keyed = |body: &str, fingerprint| {
        let mut publish = message(&room, body);
        publish.once = Some(once("k", fingerprint));
        publish
    };
    let mut nowhere = message(&room, "nowhere");
    nowhere.address = Address::room("{", "r");
    let publishes = [
        keyed("first", 1),
        nowhere,
        message(&room, "second"),
        keyed("other", 2),
        keyed("first", 1),
        message(&room, "third"),
    ];
    let answers = node.relay.publish_all(&publishes).await;
    let answers = answers.into_iter().map(|answer| match answer {
        Ok(published) => Ok((published.offset, published.is_repeated)),
        Err(RelayError::Invalid(_)) => Err("invalid"),
        Err(RelayError::KeyReused) => Err("reused"),
        Err(fault) => panic!("{fault}"),
    });
    let expected = [
        Ok((1, false)),
        Err("invalid"),
        Ok((2, false)),
        Err("reused"),
        Ok((1, true)),
        Ok((3, false)),
    ];
    assert_eq!(answers.collect::<Vec<_>>(), expected);
    let delivered = node.messages(&room, 3).await;
    let bodies: Vec<_> = delivered.iter().map(|(_, body)| &**body).collect();
    assert_eq!(bodies, ["first", "second", "third"]);
    assert!(node.relay.publish_all(&[]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_break_a_rule_are_refused() {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        settings.limits.envelope_bytes_max = 10_000;
    })
    .await;
    let invalid = |answer: Result<_, RelayError>| matches!(answer, Err(RelayError::Invalid(_)));
    assert!(invalid(node.relay.withdrawn("a}b").await.map(|_| ())));
    assert!(invalid(
        node.relay.subscribe(&[Address::room("{", "r")]).await
    ));
    let long = message(&room("r"), &"x".repeat(10_000));
    let answer = node.relay.publish(&long).await;
    assert!(invalid(answer.map(|_| ())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serials_are_given_out_once() {
    give_serials_out(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serials_are_given_out_once_while_their_ids_begin_again() {
    give_serials_out(Some(IDS - 150)).await;
}

/// Serials for which there are ids, which then begin again.
const IDS: u64 = 1 << 33;

async fn give_serials_out(from: Option<u64>) {
    const COUNT: u64 = 100;
    async fn take(node: &Node, all: &mut HashSet<u64>) -> u64 {
        let first = node.relay.take_serials(COUNT, 0).await.unwrap();
        for number in first..first + COUNT {
            assert!(all.insert(number % IDS), "{number} is given out again");
        }
        first
    }
    let server = Server::start(&[]);
    if let Some(from) = from {
        // The first one skips some, as the data has another lineage than none.
        let counter = from - 32 * COUNT;
        server.run::<()>(&format!("SET roomcast:numbers {counter}"));
    }
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::start(&server).await);
    }
    let mut all = HashSet::new();
    let mut firsts = Vec::new();
    for node in &nodes {
        firsts.push(take(node, &mut all).await);
    }
    let in_a_row = [0, COUNT, 2 * COUNT].map(|more| firsts[0] + more);
    assert_eq!(firsts, in_a_row);
    assert!(from.is_none_or(|from| firsts[0] == from), "{firsts:?}");
    let floor = firsts[2] + 5 * COUNT;
    let above = nodes[2].relay.take_serials(COUNT, floor).await;
    assert_eq!(above, Ok(floor));
    all.extend((floor..floor + COUNT).map(|number| number % IDS));
    // The relay loses its data, but not the nodes. The node with the lowest serials asks first.
    server.run::<()>("FLUSHALL");
    let anew = take(&nodes[0], &mut all).await;
    for node in &mut nodes {
        let registered = |event: &Event| matches!(event, Event::Registered { .. }).then_some(());
        node.until("registration", registered).await;
    }
    // A new node knows no serials, and the others have reported all of theirs.
    let highest = floor.max(anew) + COUNT - 1;
    let fourth = Node::start(&server).await;
    let first = take(&fourth, &mut all).await;
    assert!(first > highest, "{first} is not above {highest}");
    for node in &nodes {
        take(node, &mut all).await;
    }
}

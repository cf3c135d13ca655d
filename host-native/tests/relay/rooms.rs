//! Rooms with members on several servers.

use serde_json::{Value, json};

use super::{
    client::Client,
    cluster::{Cluster, Redis},
    node::Node,
};

/// Offsets and data of messages that members of a room saw.
fn seen(messages: &[Value]) -> Vec<(Value, Value)> {
    let seen = messages.iter();
    seen.map(|it| (it["offset"].clone(), it["data"].clone()))
        .collect()
}

#[tokio::test]
async fn all_members_on_all_servers_get_each_message_once_in_one_order() {
    const EACH: usize = 40;
    let cluster = Cluster::start(3, &[]);
    for room in ["log", "plain"] {
        let mut members = Vec::new();
        for node in &cluster.nodes {
            members.push(node.join(room).await.0);
        }
        let mut publishers: Vec<Client> = Vec::new();
        for node in &cluster.nodes {
            publishers.push(node.connect().await);
        }
        // At one time, from all servers.
        let publishing = publishers
            .iter_mut()
            .enumerate()
            .map(async |(node, client)| {
                for number in 0..EACH {
                    client.publish(room, &json!([node, number])).await;
                }
            });
        futures_util::future::join_all(publishing).await;
        let mut orders = Vec::new();
        for member in &mut members {
            orders.push(seen(&member.messages(room, 3 * EACH).await));
        }
        assert_eq!(orders[0], orders[1]);
        assert_eq!(orders[0], orders[2]);
        for node in 0..3 {
            let of_node = orders[0].iter().filter(|(_, data)| data[0] == node);
            let numbers: Vec<_> = of_node.map(|(_, data)| data[1].clone()).collect();
            let expected: Vec<_> = (0..EACH).map(Value::from).collect();
            assert_eq!(numbers, expected, "the order of a publisher");
        }
        if room == "log" {
            let offsets = orders[0].iter().map(|(offset, _)| offset.clone());
            let expected = (1..=3 * EACH).map(Value::from);
            assert_eq!(offsets.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        for member in members {
            let more = member.end().await;
            assert!(more.is_empty(), "nothing twice: {more:?}");
        }
    }
    for node in &cluster.nodes {
        assert!(node.metric("roomcast_relay_received_total") >= 240.0);
        let accepted = node.metric("roomcast_relay_publishes_total{outcome=\"accepted\"}");
        assert!(accepted >= 80.0, "{accepted}");
        let timed = node.metric("roomcast_relay_publish_seconds_count");
        assert!(timed >= 80.0, "{timed}");
        assert_eq!(node.metric("roomcast_relay_gaps_total"), 0.0);
        assert_eq!(node.metric("roomcast_relay_foreign_total"), 0.0);
    }
}

#[tokio::test]
async fn connections_go_on_when_all_their_ids_were_given_out() {
    const SERIALS: u64 = 1 << 33;
    let redis = Redis::start(&[]);
    // The first server begins two below the end: 32 blocks are left out, as its data is new.
    let counter = SERIALS - 2 - 32 * 65_536;
    redis.run(&["SET", "roomcast:numbers", &counter.to_string()]);
    let nodes = [(); 2].map(|()| Node::start(&redis.url()));
    let (mut witness, _) = nodes[1].join("log").await;
    let mut members = Vec::new();
    for number in 0..6 {
        let (mut member, _) = nodes[0].join("log").await;
        member.publish("log", &number.into()).await;
        members.push(member);
    }
    let messages = witness.messages("log", members.len()).await;
    let serials = messages.iter().map(|message| {
        let id = message["from"]["conn"].as_str().expect("an id");
        id.parse::<u64>().expect("a number") >> 20
    });
    let expected = [SERIALS - 2, SERIALS - 1, 0, 1, 2, 3];
    assert_eq!(serials.collect::<Vec<_>>(), expected);
    for (number, member) in members.iter_mut().enumerate() {
        let later = member.messages("log", 5 - number).await;
        let numbers = later.into_iter().map(|message| message["data"].clone());
        let expected = (number + 1..6).map(Value::from);
        assert_eq!(numbers.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_burst_of_one_publisher_keeps_its_order() {
    const BURST: usize = 300;
    let cluster = Cluster::start(2, &[]);
    let (mut bob, _) = cluster.nodes[1].join("log").await;
    let mut ann = cluster.nodes[0].connect().await;
    let publish = |number| json!({"event": "said", "room": "log", "data": number});
    ann.send_all((0..BURST).map(publish)).await;
    let messages = bob.messages("log", BURST).await;
    let numbers: Vec<_> = messages.iter().map(|it| it["data"].clone()).collect();
    let expected: Vec<_> = (0..BURST).map(Value::from).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_publisher_that_is_a_member_gets_its_own_message_once_and_where_it_wants_none_none() {
    let cluster = Cluster::start(2, &[]);
    let (mut ann, _) = cluster.nodes[0].join("log").await;
    let (mut bob, _) = cluster.nodes[1].join("log").await;
    let echo = json!({"event": "said", "room": "log", "echo": true, "data": 1});
    assert_eq!(ann.ask(echo).await["data"]["offset"], 1);
    let quiet = json!({"event": "said", "room": "log", "data": 2});
    assert_eq!(ann.ask(quiet).await["data"]["offset"], 2);
    let expected = |offsets: &[u64]| -> Vec<(Value, Value)> {
        let offsets = offsets.iter();
        offsets
            .map(|&offset| (offset.into(), offset.into()))
            .collect()
    };
    assert_eq!(seen(&bob.messages("log", 2).await), expected(&[1, 2]));
    assert_eq!(seen(&ann.messages("log", 1).await), expected(&[1]));
    assert!(ann.end().await.is_empty() && bob.end().await.is_empty());
}

#[tokio::test]
async fn a_key_of_a_backend_gives_one_offset_and_one_delivery_through_any_server() {
    let cluster = Cluster::start(2, &[]);
    let (mut ann, _) = cluster.nodes[0].join("log").await;
    let (mut bob, _) = cluster.nodes[1].join("log").await;
    let data = json!("hi");
    for node in [0, 1, 0] {
        let (status, answer) = cluster.nodes[node].send_surely("k", "log", &data);
        assert_eq!((status, &answer["offset"]), (200, &json!(1)), "{answer}");
    }
    let (status, _) = cluster.nodes[1].send_surely("k", "log", &json!("other"));
    assert_eq!(status, 422, "the key of another message");
    let (status, answer) = cluster.nodes[1].send_surely("l", "log", &json!("last"));
    assert_eq!((status, &answer["offset"]), (200, &json!(2)));
    for member in [&mut ann, &mut bob] {
        let expected = vec![(json!(1), data.clone()), (json!(2), json!("last"))];
        assert_eq!(seen(&member.messages("log", 2).await), expected);
    }
    // A room that nobody here is in has members elsewhere.
    let (mut carol, _) = cluster.nodes[1].join("other").await;
    let (status, _) = cluster.nodes[0].send_surely("m", "other", &json!(3));
    assert_eq!(status, 200);
    assert_eq!(carol.messages("other", 1).await[0]["data"], 3);
}

#[tokio::test]
async fn a_client_recovers_through_another_server() {
    let cluster = Cluster::start(3, &[]);
    let (mut publisher, _) = cluster.nodes[1].join("log").await;
    let (mut ann, joined) = cluster.nodes[0].join("log").await;
    publisher.publish("log", &json!(1)).await;
    assert_eq!(ann.messages("log", 1).await[0]["offset"], 1);
    ann.end().await;
    for number in 2..=6 {
        publisher.publish("log", &json!(number)).await;
    }
    let since = json!({"epoch": joined["epoch"], "offset": 1});
    let mut back = cluster.nodes[2].connect().await;
    let answer = back.join("log", Some(&since)).await;
    assert_eq!(
        (&answer["recovered"], &answer["missed"]),
        (&json!(true), &json!(5)),
        "{answer}"
    );
    assert_eq!(answer["epoch"], joined["epoch"], "one epoch for all");
    publisher.publish("log", &json!(7)).await;
    let expected: Vec<_> = (2..=7).map(|it: u64| (it.into(), it.into())).collect();
    assert_eq!(seen(&back.messages("log", 6).await), expected);
    let history = json!({"event": "$history", "room": "log", "data": {"limit": 3}});
    let history = back.ask(history).await;
    let messages = history["data"]["messages"].as_array().expect("messages");
    let offsets: Vec<_> = messages.iter().map(|it| it["offset"].clone()).collect();
    assert_eq!(offsets, [5, 6, 7], "{history}");
}

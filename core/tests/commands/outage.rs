//! A clustered hub that missed messages, or answers to its publishes.

use roomcast_core::{
    Config, ConnId, DisconnectReason, Handshake, Outbox, Policies, Timestamp,
    hub::{Cluster, Refusal},
    policy::{EventKind, Subscription, Subscriptions},
    relay::{Published, RelayCommand, RelayEvent, StreamMessage, Topic, TopicPosition},
};

use super::relayed::{Node, PUBLISH, accepted, body_to_all, page, said};

#[test]
fn an_outage_fails_publishes_and_keeps_members() {
    let mut node = Node::new();
    let conn = node.member("log", 1);
    node.text(conn, PUBLISH);
    node.command();
    for frames in [node.event(RelayEvent::Down), node.text(conn, PUBLISH)] {
        assert!(
            frames[0].contains(r#""error":{"code":"unavailable""#),
            "{frames:?}"
        );
    }
    assert_eq!(node.hub.members("log"), [conn]);
    node.event(RelayEvent::Up);
    let RelayCommand::Subscribe { token, topics } = node.command() else {
        panic!("no subscription");
    };
    let after = topics
        .into_iter()
        .map(|wanted| wanted.after.map(|after| after.offset));
    assert_eq!(after.collect::<Vec<_>>(), [Some(0), Some(1)]);
    let pages = [page(Topic::All, 0, &[]), page(Topic::room("log"), 2, &[2])].into();
    let frames = node.event(RelayEvent::Subscribed { token, pages });
    assert_eq!(frames, [said("0", "log", 2)]);
}

#[test]
fn what_came_to_all_in_an_outage_is_a_gap_for_connections_of_that_time() {
    let second_round = 2 * ConnId::SERIALS;
    for first in [0, second_round - 2, second_round - 1, second_round] {
        let cluster = Cluster::new("n1", first, 100);
        let node = Node::in_cluster(Config::new("alone"), cluster);
        miss_what_came_to_all_in_an_outage(node);
    }
}

fn miss_what_came_to_all_in_an_outage(mut node: Node) {
    let before = node.connect().serial();
    node.event(RelayEvent::Down);
    let during = node.connect().serial();
    node.event(RelayEvent::Up);
    let sent = |offset| StreamMessage {
        offset,
        body: body_to_all(offset),
    };
    let pushed = |offset| RelayEvent::Message {
        topic: Topic::All,
        epoch: "e".into(),
        offset,
        body: body_to_all(offset),
    };
    assert!(node.event(pushed(2)).is_empty(), "it is held back");
    let mut page = page(Topic::All, 1, &[]);
    page.messages = vec![sent(1)];
    let frames = node.subscribed(&[page]);
    let told = |to: &str, offset: u64| format!(r#"{to} {{"event":"m","data":{offset}}}"#);
    let gap = format!(r#"{during} {{"event":"$gap","data":{{"after":0}}}}"#);
    let before = before.to_string();
    assert_eq!(frames, [told(&before, 1), told(&before, 2), gap]);
    let mut all = [before, during.to_string()];
    all.sort_by_key(|serial| serial.parse::<u64>().ok());
    assert_eq!(node.event(pushed(3)), [told(&all.join(","), 3)]);
}

#[test]
fn ids_begin_again_in_a_cluster_when_all_serials_were_given_out() {
    let last = ConnId::SERIALS - 1;
    let mut node = Node::in_cluster(Config::new("alone"), Cluster::new("n1", last, 3));
    let ids = [(); 3].map(|()| node.connect());
    let ids = ids.map(|conn| (conn.serial(), conn.slot()));
    assert_eq!(ids, [(last, 0), (0, 1), (1, 2)]);
    let message = RelayEvent::Message {
        topic: Topic::All,
        epoch: "e".into(),
        offset: 1,
        body: body_to_all(1),
    };
    let told = format!(r#"0,1,{last} {{"event":"m","data":1}}"#);
    assert_eq!(node.event(message), [told]);
    let (now, out) = (Timestamp::ZERO, &mut Outbox::new());
    let refused = node.hub.connect(now, Handshake::new(), out);
    assert_eq!(refused, Err(Refusal::Exhausted), "until it gets more");
    let (first, count) = (ConnId::SERIALS + 9, 1);
    node.event(RelayEvent::Serials { first, count });
    assert_eq!(node.connect().serial(), 9);
}

#[test]
fn an_outage_in_which_nothing_came_to_all_is_no_gap() {
    let mut node = Node::new();
    node.event(RelayEvent::Down);
    node.connect();
    node.event(RelayEvent::Up);
    let frames = node.subscribed(&[page(Topic::All, 0, &[])]);
    assert_eq!(frames, Vec::<String>::new());
}

#[test]
fn a_gap_is_filled_or_told() {
    let mut node = Node::new();
    node.member("plain", 2);
    assert!(node.message("plain", 5).is_empty());
    let token = node.token();
    let page = page(Topic::room("plain"), 5, &[]);
    let gap = r#"0 {"event":"$gap","room":"plain","data":{"after":0}}"#;
    assert_eq!(node.event(RelayEvent::Page { token, page }), [gap]);
    assert_eq!(node.message("plain", 6), [said("0", "plain", 6)]);
}

#[test]
fn foreign_bytes_are_counted_and_told_as_a_gap() {
    let mut node = Node::new();
    node.member("log", 2);
    let body = (*b"9?").into();
    let (topic, epoch) = (Topic::room("log"), "e".into());
    let frames = node.event(RelayEvent::Message {
        topic,
        epoch,
        offset: 3,
        body,
    });
    assert_eq!(
        frames,
        [r#"0 {"event":"$gap","room":"log","data":{"after":2}}"#]
    );
    assert_eq!(node.hub.relay_stats().map(|stats| stats.foreign), Some(1));
}

/// Publishes, and delivers the message from the relay. Returns the number of the publish.
fn publish_and_see(node: &mut Node, conn: ConnId, offset: u64) -> u64 {
    assert!(node.text(conn, PUBLISH).is_empty());
    let RelayCommand::Publish(publish) = node.command() else {
        panic!("no publish");
    };
    let frames = node.event(RelayEvent::Message {
        topic: publish.topic,
        epoch: "e".into(),
        offset,
        body: publish.body,
    });
    assert_eq!(frames.len(), 1, "delivered, and not answered: {frames:?}");
    publish.token
}

#[test]
fn a_message_that_replicas_may_not_have_is_not_acknowledged_when_it_comes_back() {
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":9}}]}"#;
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let config = Config::new("alone").with_policies(policies);
    let mut cluster = Cluster::new("n1", 0, 100);
    cluster.replicated = true;
    let mut node = Node::in_cluster(config, cluster);
    let conn = node.member("log", 0);
    let token = publish_and_see(&mut node, conn, 1);
    let in_doubt = RelayEvent::Published {
        token,
        outcome: Published::TimedOut,
    };
    assert!(node.event(in_doubt.clone()).is_empty());
    assert_eq!(node.token(), token, "it is asked again");
    let unavailable = r#""error":{"code":"unavailable""#;
    let frames = node.event(in_doubt);
    assert!(
        frames.len() == 1 && frames[0].contains(unavailable),
        "{frames:?}"
    );
    publish_and_see(&mut node, conn, 2);
    let frames = node.event(RelayEvent::Down);
    assert!(
        frames.len() == 1 && frames[0].contains(unavailable),
        "{frames:?}"
    );
}

/// A node that reports messages to a backend.
fn telling(replicated: bool) -> Node {
    let all = "*".parse().expect("a pattern");
    let messages = Subscription::new([EventKind::MessagePublished], all);
    let tells = Subscriptions::from_iter([messages]);
    let mut cluster = Cluster::new("n1", 0, 100);
    cluster.replicated = replicated;
    Node::in_cluster(Config::new("alone").with_subscriptions(tells), cluster)
}

const TOLD: &str = r#"told {"type":"message.published","room":"r","message":{"event":"said","room":"r","from":{"conn":"0","user":"ann"},"data":1}}"#;

#[test]
fn a_backend_is_told_of_a_message_whose_answer_was_late() {
    let mut node = telling(false);
    let conn = node.connect_as("ann");
    // Nobody here knows of an answer to the first attempt, of this node or of another one.
    for attempts in [1, 2] {
        node.text(conn, r#"{"event":"said","room":"r","data":1}"#);
        let token = node.token();
        for _ in 1..attempts {
            let outcome = Published::TimedOut;
            node.event(RelayEvent::Published { token, outcome });
            assert_eq!(node.token(), token);
        }
        let (position, repeated) = (TopicPosition::new("e", 1), true);
        let outcome = Published::Accepted { position, repeated };
        let frames = node.event(RelayEvent::Published { token, outcome });
        assert_eq!(frames, [TOLD], "{attempts}");
    }
}

#[test]
fn a_backend_is_told_who_published_though_gone_since() {
    let mut node = telling(false);
    let conn = node.connect_as("ann");
    node.text(conn, r#"{"event":"said","room":"r","data":1}"#);
    let token = node.token();
    let (now, out) = (node.now, &mut node.out);
    let ended = node.hub.disconnect(now, conn, DisconnectReason::Lost, out);
    ended.expect("it was alive");
    node.frames();
    assert_eq!(node.event(accepted(token, 1)), [TOLD]);
}

#[test]
fn a_backend_is_told_once_of_a_message_that_is_repeated() {
    let mut node = telling(false);
    let conn = node.connect_as("ann");
    node.text(conn, r#"{"event":"$join","room":"r"}"#);
    node.subscribed(&[page(Topic::room("r"), 0, &[])]);
    let publish = r#"{"event":"said","room":"r","key":"k","data":1}"#;
    // Neither answer is given yet: the message has not come back.
    let mut told = Vec::new();
    for repeated in [false, true] {
        node.text(conn, publish);
        let (token, position) = (node.token(), TopicPosition::new("e", 1));
        let outcome = Published::Accepted { position, repeated };
        told.extend(node.event(RelayEvent::Published { token, outcome }));
    }
    assert_eq!(told, [TOLD]);
}

#[test]
fn a_backend_is_told_once_of_a_message_that_came_back_and_failed() {
    let mut node = telling(true);
    let conn = node.connect_as("ann");
    let text = r#"{"event":"said","room":"r","key":"k","data":1}"#;
    node.text(conn, r#"{"event":"$join","room":"r"}"#);
    node.subscribed(&[page(Topic::room("r"), 0, &[])]);
    node.text(conn, text);
    let RelayCommand::Publish(publish) = node.command() else {
        panic!("no publish");
    };
    node.event(RelayEvent::Message {
        topic: publish.topic,
        epoch: "e".into(),
        offset: 1,
        body: publish.body,
    });
    assert_eq!(node.event(RelayEvent::Down)[0], TOLD);
    node.event(RelayEvent::Up);
    node.commands.clear();
    node.text(conn, text);
    let (token, position) = (node.token(), TopicPosition::new("e", 1));
    let outcome = Published::Accepted {
        position,
        repeated: true,
    };
    let told = node.event(RelayEvent::Published { token, outcome });
    assert!(!told.contains(&TOLD.to_owned()), "{told:?}");
}

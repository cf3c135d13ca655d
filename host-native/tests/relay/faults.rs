//! Servers and a Redis that die, stand still and come back.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{client::is_unavailable, cluster::Cluster, wait_for};

#[tokio::test]
async fn a_server_that_is_killed_takes_nothing_along() {
    let mut cluster = Cluster::start(3, &[]);
    let (mut ann, joined) = cluster.nodes[0].join("log").await;
    let (mut bob, _) = cluster.nodes[1].join("log").await;
    let mut publisher = cluster.nodes[2].connect().await;
    let mut seen_by_ann = 0;
    for number in 1..=20 {
        publisher.publish("log", &json!(number)).await;
        if number == 10 {
            seen_by_ann = ann.messages("log", 5).await[4]["offset"]
                .as_u64()
                .expect("an offset");
            cluster.nodes.remove(0).kill();
        }
    }
    let since = json!({"epoch": joined["epoch"], "offset": seen_by_ann});
    let mut back = cluster.nodes[0].connect().await;
    let answer = back.join("log", Some(&since)).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    let missed = back.messages("log", 15).await;
    let offsets = |messages: &[Value]| -> Vec<u64> {
        let offsets = messages.iter();
        offsets
            .map(|it| it["offset"].as_u64().expect("no gap"))
            .collect()
    };
    assert_eq!(offsets(&missed), (6..=20).collect::<Vec<_>>());
    let others = bob.messages("log", 20).await;
    assert_eq!(offsets(&others), (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn while_redis_is_away_publishes_fail_and_members_stay_and_then_all_goes_on() {
    let mut cluster = Cluster::start(2, &[]);
    let (mut ann, before) = cluster.nodes[0].join("log").await;
    let (mut bob, _) = cluster.nodes[1].join("log").await;
    bob.publish("log", &json!(1)).await;
    assert_eq!(ann.messages("log", 1).await[0]["offset"], 1);
    cluster.redis.kill();
    for node in &cluster.nodes {
        wait_for("/readyz stays 200", || !node.is_ready()).await;
        assert_eq!(node.http("GET /healthz", "").0, 200);
        assert_eq!(node.metric("roomcast_relay_up"), 0.0);
        let (status, _) = node.send("k", "log", &json!(2));
        assert_eq!(status, 503);
        let seen = node.doctor();
        assert!(seen.contains("cannot reach its relay"), "{seen}");
    }
    // At once, and not after the second that a publish waits for the relay. The quickest counts: a
    // busy machine may stand still meanwhile.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let publish = json!({"event": "said", "room": "log", "data": 3});
        let answer = bob.ask(publish).await;
        assert!(is_unavailable(&answer), "{answer}");
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    let refused = r#"roomcast_relay_publishes_total{outcome="refused"}"#;
    wait_for("the publishes are not counted", || {
        cluster.nodes[1].metric(refused) >= 6.0
    })
    .await;
    cluster.redis.start_again();
    cluster.ready().await;
    // The relay has lost its data: members are notified, and no new message is taken for an old
    // one. A message published before the notice would be behind the gap.
    let told = ann.messages("log", 1).await;
    assert_eq!(told[0]["event"], "$gap", "{told:?}");
    assert_eq!(bob.publish("log", &json!(4)).await["offset"], 1);
    let told = ann.messages("log", 1).await;
    assert_eq!(
        (&told[0]["offset"], &told[0]["data"]),
        (&json!(1), &json!(4))
    );
    let since = json!({"epoch": before["epoch"], "offset": 1});
    let answer = cluster.nodes[0]
        .connect()
        .await
        .join("log", Some(&since))
        .await;
    assert_eq!(answer["recovered"], false, "{answer}");
    for node in &cluster.nodes {
        assert!(node.metric(r#"roomcast_relay_losses_total{reason="disconnected"}"#) >= 1.0);
        assert!(node.metric("roomcast_relay_connects_total") >= 2.0);
        // A server subscribes again when it is ready: a publish may be answered before.
        wait_for("the gap is not counted", || {
            node.metric("roomcast_relay_gaps_total") >= 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn a_redis_that_stands_still_is_noticed_and_nothing_is_published_twice() {
    let cluster = Cluster::start(2, &[]);
    let (mut ann, _) = cluster.nodes[0].join("log").await;
    let mut bob = cluster.nodes[1].connect().await;
    bob.publish("log", &json!(1)).await;
    cluster.redis.signal(Signal::STOP);
    let began = Instant::now();
    let publish = json!({"event": "said", "room": "log", "key": "k", "data": 2});
    let answer = bob.ask(publish).await;
    assert!(is_unavailable(&answer), "{answer}");
    let took = began.elapsed();
    eprintln!("a publish failed after {took:?}");
    // Takes one second, plus slack for a busy machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
    wait_for("/readyz stays 200", || !cluster.nodes[1].is_ready()).await;
    cluster.redis.signal(Signal::CONT);
    cluster.ready().await;
    let publish = json!({"event": "said", "room": "log", "key": "k", "data": 2});
    let mut answer = bob.ask(publish.clone()).await;
    while is_unavailable(&answer) {
        answer = bob.ask(publish.clone()).await;
    }
    assert_eq!(answer["data"]["offset"], 2, "{answer}");
    bob.publish("log", &json!(3)).await;
    let told = ann.messages("log", 3).await;
    let offsets: Vec<_> = told.iter().map(|it| it["offset"].clone()).collect();
    assert_eq!(offsets, [1, 2, 3], "{told:?}");
}

#[tokio::test]
async fn a_server_that_ends_in_order_publishes_what_it_accepted_and_gives_its_lease_back() {
    let mut cluster = Cluster::start(2, &[]);
    let (mut ann, _) = cluster.nodes[0].join("log").await;
    let mut bob = cluster.nodes[1].connect().await;
    for number in 1..=50 {
        bob.publish("log", &json!(number)).await;
    }
    assert_eq!(cluster.leases(), 2);
    drop(bob);
    assert!(cluster.nodes.remove(1).terminate().success());
    assert_eq!(cluster.leases(), 1, "at once, not when it has expired");
    let messages = ann.messages("log", 50).await;
    assert_eq!(messages[49]["offset"], 50);
}

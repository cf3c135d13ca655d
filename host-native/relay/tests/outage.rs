//! Servers that stop, die and lose data.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roomcast_relay::{
    Change, Event, Lineage, Loss, Read, Relay, RelayError, Retention, Start, State,
};

use crate::{
    node::{Node, hasty, message, once, quiet, room, text},
    presence::present,
    proxy::Proxy,
    server::{PATIENCE, Port, Server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_fails_publishes_in_time_and_comes_back() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start_with(&server.url(), |settings| {
        quiet(settings, Duration::from_secs(2));
    })
    .await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    server.stop();
    let began = Instant::now();
    let mut publish = message(&room, "hi");
    publish.once = Some(once("hi", 1));
    assert_eq!(node.relay.publish(&publish).await, Err(RelayError::InDoubt));
    // Nothing but its own timeout ends it sooner.
    let took = began.elapsed();
    assert!(took < PATIENCE / 2, "{took:?}");
    assert_eq!(node.until_lost().await, Loss::Silent);
    assert_eq!(*node.relay.state().borrow(), State::Lost);
    // For this reason at once: nothing is sent that could be waited for.
    let refused = node.relay.publish(&publish).await;
    let at_once = RelayError::Unavailable("there is no connection");
    assert_eq!(refused, Err(at_once));
    server.go_on();
    node.until_ready().await;

    // The publish was in doubt. Its key makes the retry safe: the message is published once.
    assert_eq!(node.publish_surely(&room, "next").await.offset, 1 + 1);
    let retried = node.publish_surely(&room, "hi").await;
    assert_eq!((retried.offset, retried.is_repeated), (1, true));
    let page = Read::after(room, retried.epoch, 0);
    let page = node.relay.read(&page).await.unwrap();
    assert_eq!((page.messages.len(), page.is_whole), (2, true));
    let counted = node.relay.counters().snapshot();
    assert!(
        counted.in_doubt >= 1 && counted.losses == 1 && counted.connects == 2,
        "{counted:?}"
    );
}

/// The errors of four calls, two of which may be in flight, and the time until the last one.
async fn fail_four() -> ([RelayError; 4], Duration) {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        quiet(settings, Duration::from_secs(1));
        settings.limits.calls_max = 2;
    })
    .await;
    server.stop();
    let began = Instant::now();
    let call = async |number: u32| {
        let publish = message(&room("r"), &number.to_string());
        node.relay.publish(&publish).await
    };
    let (a, b, c, d) = tokio::join!(call(1), call(2), call(3), call(4));
    let errors = [a, b, c, d].map(|answer| answer.unwrap_err());
    (errors, began.elapsed())
}

/// Calls in line are never sent, if all begin at one time: one that begins a few milliseconds after
/// the first, on a busy machine, gets its turn when that one ends, and is in doubt like it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_line_fail_in_time_too() {
    let late = RelayError::Unavailable("too many calls wait for it");
    let expected = [RelayError::InDoubt, RelayError::InDoubt, late.clone(), late];
    let began = Instant::now();
    loop {
        let (errors, took) = fail_four().await;
        if errors == expected && took < Duration::from_secs(3) {
            return;
        }
        let is_busy = began.elapsed() < PATIENCE;
        assert!(is_busy, "each time: {errors:?} after {took:?}");
    }
}

/// A publish times out after others that fill the socket, and the server resumes before the next
/// publish times out. Returns the offsets of both; `None` if the machine was so busy that the
/// connection was lost meanwhile.
async fn give_up_one() -> Option<(u64, u64)> {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        quiet(settings, Duration::from_secs(1));
    })
    .await;
    let (room, mut publish) = (room("r"), message(&room("r"), "first"));
    publish.once = Some(once("first", 1));
    let large = message(&crate::node::room("other"), &"x".repeat(1 << 20));
    // The calls of the registration and of the check for dead nodes.
    wait_for_calls(&server, "evalsha", 2).await;
    let position = Read::position(room.clone());
    match node.relay.read(&position).await {
        Err(RelayError::InDoubt | RelayError::Unavailable(_)) => return None,
        read => read.unwrap(),
    };
    server.stop();
    let fill = join_all((0..24).map(|_| node.relay.publish(&large)));
    let first = async {
        let given_up = node.relay.publish(&publish).await;
        server.go_on();
        given_up
    };
    let second = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        node.publish_surely(&room, "second").await.offset
    };
    let (_, given_up, second) = tokio::join!(fill, first, second);
    let first = node.publish_surely(&room, "first").await.offset;
    if node.relay.counters().snapshot().losses > 0 {
        return None;
    }
    assert_eq!(given_up, Err(RelayError::InDoubt));
    Some((first, second))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_is_given_up_keeps_its_place_in_line() {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(offsets) = give_up_one().await {
            assert_eq!(offsets, (1, 2));
            return;
        }
    }
    panic!("the connection is lost each time");
}

/// The first unsubscribe gets no turn, since two calls before it wait until their timeout. The
/// second comes after the connection is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_whose_ends_are_lost_do_not_come_back() {
    let server = Server::start(&[]);
    let (ended, kept) = ([room("ended"), room("lost")], room("kept"));
    let half = Duration::from_secs(1);
    let mut node = Node::start_with(&server.url(), |settings| quiet(settings, half * 2)).await;
    node.relay.subscribe(&ended).await.unwrap();
    node.relay.subscribe(&[kept]).await.unwrap();
    server.stop();
    let others = [room("a"), room("b")];
    let first = node.relay.subscribe(&others[..1]);
    let second = async {
        tokio::time::sleep(half).await;
        node.relay.subscribe(&others[1..]).await
    };
    let ends = async {
        tokio::time::sleep(half).await;
        node.relay.unsubscribe(&ended[..1]).await
    };
    let (first, second, ends) = tokio::join!(first, second, ends);
    assert!(first.is_err() && second.is_err() && ends.is_err());
    node.until_lost().await;
    assert!(node.relay.unsubscribe(&ended[1..]).await.is_err());
    server.go_on();
    node.until_ready().await;
    let all: Vec<String> = server.run("PUBSUB SHARDCHANNELS roomcast:{ns}:*");
    assert_eq!(all, ["roomcast:{ns}:ws:room:kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_without_a_disk_begins_new_epochs() {
    let mut server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    let before = node.publish(&room, "lost").await;
    server.kill();
    assert_eq!(node.until_lost().await, Loss::Disconnected);
    server.start_again();
    node.until_ready().await;
    let after = node.publish_surely(&room, "new").await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.offset, 1);
    let read = Read::after(room, before.epoch, before.offset);
    assert!(
        !node.relay.read(&read).await.unwrap().is_whole,
        "it is told"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_on_the_disk_outlives_its_epoch() {
    let disk = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&disk);
    let room = room("r");
    let mut node = Node::start(&server).await;
    let mut bodies = Vec::new();
    let mut epochs = Vec::new();
    for round in 1..=3 {
        for count in 1..=2 {
            bodies.push(format!("{round}.{count}"));
            let published = node.publish_surely(&room, &bodies[bodies.len() - 1]).await;
            assert_eq!(published.offset, bodies.len() as u64);
            epochs.push(published.epoch);
        }
        server.kill();
        node.until_lost().await;
        server.start_again();
        node.until_ready().await;
        let mut read = Read::after(room.clone(), epochs[epochs.len() - 1].clone(), 0);
        assert!(
            !node.relay.read(&read).await.unwrap().is_whole,
            "it is told"
        );
        read.start = Start::Before(None);
        let page = node.relay.read(&read).await.unwrap();
        assert!(!epochs.contains(&page.position.epoch));
        let kept = page.messages.iter().rev().map(|kept| text(&kept.body));
        assert_eq!(kept.collect::<Vec<_>>(), bodies);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_an_ended_epoch_is_done_where_its_message_is_kept() {
    let disk = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&disk);
    let mut node = Node::start(&server).await;
    let mut kept = message(&room("kept"), "hi");
    let mut counted = message(&room("counted"), "hi");
    counted.retention = Retention::default();
    (kept.once, counted.once) = (Some(once("k", 1)), Some(once("c", 1)));
    let first = node.relay.publish(&kept).await.unwrap();
    node.relay.publish(&counted).await.unwrap();
    server.kill();
    node.until_lost().await;
    server.start_again();
    node.until_ready().await;

    let again = node.relay.publish(&kept).await.unwrap();
    assert_ne!(again.epoch, first.epoch);
    assert_eq!((again.offset, again.is_repeated), (1, true));
    // Nobody can know whether it was delivered.
    for is_repeated in [false, true] {
        let again = node.relay.publish(&counted).await.unwrap();
        assert_eq!((again.offset, again.is_repeated), (2, is_repeated));
    }
    counted.once = Some(once("c", 2));
    let other = node.relay.publish(&counted).await;
    assert_eq!(other, Err(RelayError::KeyReused));

    // A room that restarted had expired, so nothing of it was lost.
    server.run::<()>("DEL roomcast:{ns}:m:kept");
    let other = node.publish(&room("kept"), "other").await;
    let again = node.relay.publish(&kept).await.unwrap();
    assert_eq!(
        (other.offset, again.offset, again.is_repeated),
        (1, 1, true)
    );
    assert_eq!(again.epoch, first.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_each_write_loses_nothing_and_keeps_epochs() {
    let disk = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&disk);
    let room = room("r");
    let mut node = Node::start_with(&server.url(), |settings| {
        settings.lineage = Lineage::Data;
    })
    .await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for count in 0..20 {
            let body = format!("{round}.{count}");
            acknowledged.push((node.publish_surely(&room, &body).await, body));
        }
        server.kill();
        node.until_lost().await;
        server.start_again();
        node.until_ready().await;
    }
    let epoch = acknowledged[0].0.epoch.clone();
    let page = Read::after(room, epoch.clone(), 0);
    let page = node.relay.read(&page).await.unwrap();
    assert!(page.is_whole);
    assert_eq!(page.messages.len(), acknowledged.len());
    for (published, body) in acknowledged {
        assert_eq!(published.epoch, epoch);
        let at = usize::try_from(published.offset - 1).unwrap();
        assert_eq!(page.messages[at].body, body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_data_is_a_gap_and_not_a_silence() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    let before = node.publish(&room, "lost").await;
    server.run::<()>("FLUSHALL");
    // The lease is gone as well: a heartbeat notices, and the node enters its users again.
    node.until("registration", |event| {
        matches!(event, Event::Registered { .. }).then_some(())
    })
    .await;
    let read = Read::after(room.clone(), before.epoch.clone(), before.offset);
    let page = node.relay.read(&read).await.unwrap();
    assert!(!page.is_whole && page.position.epoch != before.epoch);
    let after = node.publish(&room, "new").await;
    assert_eq!((after.epoch, after.offset), (page.position.epoch, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_half_open_is_noticed() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let mut node = Node::start_with(&proxy.url(), hasty).await;
    proxy.set_mute(true);
    assert_eq!(node.until_lost().await, Loss::Silent);
    proxy.set_mute(false);
    node.until_ready().await;
    node.publish_surely(&room("r"), "hi").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_of_publishes_is_noticed_by_the_first() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let mut node = Node::start_with(&proxy.url(), |settings| {
        quiet(settings, Duration::from_secs(2));
    })
    .await;
    let mut publish = message(&room("r"), "the last words");
    publish.once = Some(once("the last words", 1));
    proxy.end_behind("the last words");
    assert_eq!(node.relay.publish(&publish).await, Err(RelayError::InDoubt));
    assert!(proxy.has_ended());
    assert_eq!(node.until_lost().await, Loss::Silent);
    node.until_ready().await;
    let again = node.publish_surely(&room("r"), "the last words").await;
    assert_eq!(again.offset, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_keep_an_idle_relay_ready() {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        settings.timing.probe = Duration::from_millis(20);
    })
    .await;
    wait_for_calls(&server, "spublish", 20).await;
    let counted = node.relay.counters().snapshot();
    assert_eq!(
        (counted.losses, counted.connects, counted.foreign),
        (0, 1, 0)
    );
}

/// The incarnations with a lease, and the end of each.
fn leases(server: &Server) -> Vec<(String, u64)> {
    server.run("ZRANGE roomcast:leases 0 -1 WITHSCORES")
}

/// Simulates the end of all leases; returns their incarnations.
fn end_leases(server: &Server) -> Vec<String> {
    let ended: Vec<_> = leases(server).into_iter().map(|(node, _)| node).collect();
    for node in &ended {
        let changed: u64 = server.run(&format!("ZADD roomcast:leases XX CH 1 {node}"));
        assert_eq!(changed, 1, "{node}");
    }
    ended
}

/// Waits until a node has checked for dead ones, which it does after each renewal of its lease.
async fn wait_for_look(server: &Server, node: &Node) {
    let end = || {
        let own = |(incarnation, _): &(String, u64)| incarnation.starts_with(&*node.relay.node());
        leases(server).into_iter().find(own).expect("a lease").1
    };
    for _ in 0..3 {
        let (before, began) = (end(), Instant::now());
        while end() == before {
            assert!(began.elapsed() < PATIENCE, "no heartbeat");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leaves_in_an_outage_longer_than_a_lease() {
    let server = Server::start(&[]);
    let room = room("r");
    let (mut nodes, mut ways) = (Vec::new(), Vec::new());
    for user in ["ann", "bob"] {
        let way = Proxy::start(server.port).await;
        let node = Node::start_with(&way.url(), |settings| {
            // No node is up for so long before both are back, however busy the machine is.
            settings.timing.claim_after = PATIENCE;
        })
        .await;
        let entered = node.relay.set_present(&present(&room, user, 1)).await;
        assert_eq!(entered.unwrap().change, Some(Change::Joined));
        nodes.push(node);
        ways.push(way);
    }
    let nowhere = Port::free();
    for (node, way) in nodes.iter_mut().zip(&ways) {
        way.lead_to(nowhere.number());
        node.until_lost().await;
    }
    let mut ended = end_leases(&server);
    // The node that reconnects first sees that the lease of the other has ended.
    for (node, way) in nodes.iter_mut().zip(&ways) {
        way.lead_to(server.port);
        node.until_ready().await;
        wait_for_look(&server, node).await;
    }
    let mut found: Vec<_> = leases(&server).into_iter().map(|(node, _)| node).collect();
    ended.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, ended, "both go on under their names");
    let members = nodes[0].relay.members(&room, 10).await.unwrap();
    assert_eq!((members.total, members.notice), (2, 2), "nobody was told");
    for node in &mut nodes {
        let counted = node.relay.counters().snapshot();
        assert_eq!((counted.fenced, counted.reaped_nodes), (0, 0));
        while let Some(event) = node.events.try_next() {
            assert!(!matches!(event, Event::Reaped { .. }), "{event:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_under_an_old_name_stay_until_they_are_entered_under_the_new_one() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let room = room("r");
    let way = Proxy::start(server.port).await;
    let mut node = Node::start_with(&way.url(), |_| {}).await;
    let ann = present(&room, "ann", 1);
    node.relay.set_present(&ann).await.unwrap();
    let nowhere = Port::free();
    way.lead_to(nowhere.number());
    server.kill();
    node.until_lost().await;
    server.start_again();
    let old = end_leases(&server).remove(0);
    way.lead_to(server.port);
    node.until_ready().await;
    let leases = leases(&server);
    assert_eq!(leases.len(), 2, "{leases:?}");
    let (_, end) = leases.iter().find(|(node, _)| *node == old).unwrap();
    assert!(*end > 1, "the lease of the old name goes on");
    let nodes = node.relay.nodes().await.unwrap();
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    let again = node.relay.set_present(&ann).await.unwrap();
    assert_eq!(again.change, None, "she was never away");
}

/// Waits until the server has executed a command `count` times.
pub(crate) async fn wait_for_calls(server: &Server, command: &str, count: u64) {
    let calls = || -> u64 {
        let stats: String = server.run("INFO commandstats");
        let name = format!("cmdstat_{command}:");
        let line = stats.lines().find(|line| line.starts_with(&name));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    let began = Instant::now();
    while calls() < count {
        assert!(began.elapsed() < PATIENCE, "no {command}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

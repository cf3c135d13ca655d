//! Users of rooms, counted over all servers.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    PATIENCE,
    client::Client,
    cluster::{Cluster, Redis},
    hook::Backend,
    node::Node,
    wait_for,
};

/// Users are shown in all rooms, and leave them at once.
const ROOMS: &str = "[[rooms]]\nmatch = \"*\"\npresence = \"members\"\npresence_grace_s = 0\n";

/// Starts three servers behind a proxy that names users, with a backend that receives their joins
/// and leaves.
pub(super) fn start() -> (Cluster, Backend) {
    let (redis, backend) = (Redis::start(&[]), Backend::start());
    let settings =
        backend.settings(&["user.joined", "user.left", "room.occupied", "room.vacated"]) + ROOMS;
    let mut flags = vec!["--trusted-proxy", "127.0.0.1", "--user-header", "X-User"];
    // Clients that only wait answer no pings.
    flags.extend(["--heartbeat-ms", "off"]);
    let nodes = (0..3).map(|_| Node::start_with(&redis.url(), &settings, &flags));
    let nodes = nodes.collect();
    (Cluster { nodes, redis }, backend)
}

pub(super) async fn join_as(node: &Node, user: &str, room: &str) -> Client {
    let mut client = node.connect_as(user).await;
    client.join(room, None).await;
    client
}

/// The users of a room, with the connections of each.
async fn members(client: &mut Client, room: &str) -> Vec<(String, u64)> {
    let answer = client.ask(json!({"event": "$members", "room": room})).await;
    let members = answer["data"]["members"].as_array();
    let members = members.map_or(&[][..], Vec::as_slice).iter();
    let members = members.map(|it| {
        let name = it["user"].as_str().expect("a user").to_owned();
        (name, it["conns"].as_u64().expect("a number"))
    });
    members.collect()
}

/// Waits until a room has these users.
async fn wait_for_members(client: &mut Client, room: &str, expected: &[(&str, u64)]) {
    let began = Instant::now();
    loop {
        let found = members(client, room).await;
        let mut seen = found.iter().map(|(user, conns)| (&**user, *conns));
        if seen.by_ref().eq(expected.iter().copied()) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The next notice of a room: its event, and the user.
async fn notice(client: &mut Client, room: &str) -> (String, String) {
    loop {
        let frame = client.next().await;
        if let (Some(event), true) = (of_user(&frame), frame["room"] == room) {
            return event;
        }
    }
}

pub(super) fn of_user(frame: &Value) -> Option<(String, String)> {
    let event = frame["event"].as_str()?;
    let user = frame["data"]["user"].as_str()?;
    matches!(event, "$joined" | "$left").then(|| (event.to_owned(), user.to_owned()))
}

fn joined(user: &str) -> (String, String) {
    ("$joined".to_owned(), user.to_owned())
}

fn left(user: &str) -> (String, String) {
    ("$left".to_owned(), user.to_owned())
}

#[tokio::test]
async fn users_of_one_server_are_seen_through_another() {
    let (cluster, backend) = start();
    let nodes = &cluster.nodes;
    let mut carol = join_as(&nodes[2], "carol", "den").await;
    wait_for_members(&mut carol, "den", &[("carol", 1)]).await;
    let ann = join_as(&nodes[0], "ann", "den").await;
    assert_eq!(notice(&mut carol, "den").await, joined("ann"));
    let mut bob = join_as(&nodes[1], "bob", "den").await;
    assert_eq!(notice(&mut carol, "den").await, joined("bob"));
    let again = join_as(&nodes[1], "ann", "den").await;
    let everybody = [("ann", 2), ("bob", 1), ("carol", 1)];
    for client in [&mut bob, &mut carol] {
        wait_for_members(client, "den", &everybody).await;
    }
    // The end of the first of two connections is not announced.
    ann.end().await;
    wait_for_members(&mut carol, "den", &[("ann", 1), ("bob", 1), ("carol", 1)]).await;
    again.end().await;
    assert_eq!(notice(&mut carol, "den").await, left("ann"));
    wait_for_members(&mut bob, "den", &[("bob", 1), ("carol", 1)]).await;
    let rest = carol.end().await;
    assert!(
        rest.iter().all(|frame| of_user(frame).is_none()),
        "{rest:?}"
    );
    bob.end().await;
    let den = |users: &[&str]| -> Vec<(String, String)> {
        let users = users.iter();
        users
            .map(|&user| ("den".to_owned(), user.to_owned()))
            .collect()
    };
    let users = den(&["ann", "bob", "carol"]);
    // Each server tells of its own, in its own time.
    wait_for("the backend is not told", || {
        let is_told = |kind| !backend.told(kind).is_empty();
        let are_all = |kind| backend.told(kind).len() >= users.len();
        are_all("user.joined")
            && are_all("user.left")
            && is_told("room.occupied")
            && is_told("room.vacated")
    })
    .await;
    assert_eq!(backend.told("user.left"), users);
    assert_eq!(backend.told("user.joined"), users);
    for kind in ["room.occupied", "room.vacated"] {
        assert_eq!(backend.told(kind), den(&[""]), "{kind}");
    }
}

#[tokio::test]
async fn users_of_a_server_that_is_killed_are_gone_and_each_is_told_once() {
    const ROOMS: usize = 5;
    const USERS: usize = 8;
    let (mut cluster, backend) = start();
    let names: Vec<String> = (0..ROOMS).map(|room| format!("den{room}")).collect();
    let mut witnesses = Vec::new();
    for room in &names {
        for node in [1, 2] {
            witnesses.push((room, join_as(&cluster.nodes[node], "eve", room).await));
        }
    }
    let mut clients = Vec::new();
    for room in &names {
        for user in 0..USERS {
            let user = format!("u{user}");
            clients.push(join_as(&cluster.nodes[0], &user, room).await);
        }
    }
    // One is elsewhere too.
    let _other = join_as(&cluster.nodes[2], "u3", &names[0]).await;
    for (room, witness) in &mut witnesses {
        let mut expected = vec![("eve".to_owned(), 2)];
        expected.extend((0..USERS).map(|user| {
            let is_elsewhere = user == 3 && *room == &names[0];
            (format!("u{user}"), 1 + u64::from(is_elsewhere))
        }));
        let expected: Vec<_> = expected.iter().map(|(user, it)| (&**user, *it)).collect();
        wait_for_members(witness, room, &expected).await;
    }
    let killed = Instant::now();
    cluster.nodes.remove(0).kill();
    let mut gone = Vec::new();
    for (room, witness) in &mut witnesses {
        let is_first = *room == &names[0];
        let mut seen = Vec::new();
        while seen.len() < USERS - usize::from(is_first) {
            let (event, user) = notice(witness, room).await;
            if event == "$left" {
                seen.push(user);
            }
        }
        seen.sort_unstable();
        let users = (0..USERS).filter(|user| !(is_first && *user == 3));
        let users: Vec<_> = users.map(|user| format!("u{user}")).collect();
        assert_eq!(seen, users, "each once, in {room}");
        gone.extend(users.into_iter().map(|user| (room.to_string(), user)));
    }
    eprintln!("all were gone after {:?}", killed.elapsed());
    gone.sort_unstable();
    gone.dedup();
    for (room, mut witness) in witnesses {
        let mut expected = vec![("eve", 2)];
        expected.extend((room == &names[0]).then_some(("u3", 1)));
        wait_for_members(&mut witness, room, &expected).await;
        // It stays until both have looked.
        clients.push(witness);
    }
    wait_for("the backend is not told", || {
        backend.told("user.left").len() >= gone.len()
    })
    .await;
    assert_eq!(backend.told("user.left"), gone);
    for client in clients.drain(ROOMS * USERS..) {
        let rest = client.end().await;
        let again = rest.iter().filter_map(of_user);
        let again: Vec<_> = again.filter(|(event, _)| event == "$left").collect();
        assert!(again.iter().all(|it| it.1 == "eve"), "{again:?}");
    }
}

#[tokio::test]
async fn a_server_that_stands_still_past_its_lease_leaves_no_ghosts() {
    let (cluster, backend) = start();
    let nodes = &cluster.nodes;
    let mut eve = join_as(&nodes[1], "eve", "den").await;
    let mut ann = join_as(&nodes[0], "ann", "den").await;
    let bob = join_as(&nodes[0], "bob", "den").await;
    wait_for_members(&mut eve, "den", &[("ann", 1), ("bob", 1), ("eve", 1)]).await;
    nodes[0].signal(Signal::STOP);
    wait_for_members(&mut eve, "den", &[("eve", 1)]).await;
    drop(bob);
    nodes[0].signal(Signal::CONT);
    wait_for_members(&mut eve, "den", &[("ann", 1), ("eve", 1)]).await;
    wait_for_members(&mut ann, "den", &[("ann", 1), ("eve", 1)]).await;
    let rest = eve.end().await;
    let notices: Vec<_> = rest.iter().filter_map(of_user).collect();
    let of_ann = notices.iter().filter(|it| it.1 == "ann");
    let of_ann: Vec<_> = of_ann.map(|it| &*it.0).collect();
    assert_eq!(of_ann, ["$joined", "$left", "$joined"], "no storm");
    ann.end().await;
    wait_for("the backend is not told", || {
        backend.told("user.left").iter().any(|it| it.1 == "eve")
    })
    .await;
    let told = backend.told("user.left");
    let of_ann = told.iter().filter(|it| it.1 == "ann").count();
    assert!(of_ann <= 2, "{told:?}");
}

//! Leases: nodes that die, stall, and retire.

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use roomcast_relay::{Change, Event, Relay, RelayError, Settings};
use rustix::process::{Signal, kill_process};

use crate::{
    node::{Node, room},
    presence::{notice, present},
    proxy::Proxy,
    server::{PATIENCE, Server, pid, wait_for},
};

/// Checks for dead nodes often, with long timeouts: a busy machine is not an outage.
fn patient(settings: &mut Settings) {
    settings.timing.heartbeat = Duration::from_millis(200);
    settings.timing.response = PATIENCE;
    settings.timing.silence = PATIENCE;
    settings.timing.lease = PATIENCE;
    settings.timing.claim_after = Duration::ZERO;
}

/// Like [`patient`], with a lease that a test waits for, and that a busy machine does not end.
fn short(settings: &mut Settings) {
    patient(settings);
    settings.timing.lease = Duration::from_secs(10);
}

/// The number of times that each user was reported gone.
type Told = HashMap<(String, String), usize>;

fn note(told: &mut Told, event: &Event) {
    if let Event::Reaped { address, users } = event {
        for user in users {
            let told = told.entry((address.to_string(), user.to_string()));
            *told.or_default() += 1;
        }
    }
}

/// Enters a thousand users, ten in each of a hundred rooms.
async fn enter_thousand(node: &Node) {
    let enter = async |number: u32| {
        let room = room(&format!("r{}", number % 100));
        let presence = present(&room, &format!("u{number}"), 1);
        let arrival = node.relay.set_present(&presence).await.unwrap();
        assert_eq!(arrival.change, Some(Change::Joined));
    };
    join_all((0..1_000).map(enter)).await;
}

/// Ends a node without deregistering, and waits until none of its tasks run. Returns its
/// incarnation, which has a lease.
async fn die(node: Node, server: &Server) -> String {
    let Node { relay, mut events } = node;
    let name = relay.node();
    drop(relay);
    while events.next().await.is_some() {}
    let leases: Vec<String> = server.run("ZRANGE roomcast:leases 0 -1");
    let own = leases.into_iter().find(|it| it.starts_with(&*name));
    own.expect("a lease")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_dead_node_leave_once_each() {
    let server = Server::start(&[]);
    let mut survivors = Vec::new();
    for _ in 0..2 {
        survivors.push(Node::start_with(&server.url(), patient).await);
    }
    let rooms: Vec<_> = (0..100).map(|number| room(&format!("r{number}"))).collect();
    survivors[0].relay.subscribe(&rooms).await.unwrap();
    let dead = Node::start_with(&server.url(), patient).await;
    enter_thousand(&dead).await;
    // Some are on another node too: they stay.
    let shared = present(&rooms[7], "u7", 1);
    survivors[1].relay.set_present(&shared).await.unwrap();
    let gone = die(dead, &server).await;
    // Simulates the end of the lease: a short one might end while the node lives.
    let ended: u64 = server.run(&format!("ZADD roomcast:leases XX CH 1 {gone}"));
    assert_eq!(ended, 1);

    let began = Instant::now();
    let (mut told, mut left): (Told, Told) = (HashMap::new(), HashMap::new());
    while told.len() < 999 || left.len() < 999 {
        assert!(began.elapsed() < PATIENCE, "{} of 999", told.len());
        for node in &mut survivors {
            while let Some(event) = node.events.try_next() {
                note(&mut told, &event);
                if let Event::Presence {
                    address,
                    change: Change::Left,
                    user,
                    ..
                } = event
                {
                    *left.entry((address.to_string(), user.into())).or_default() += 1;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        told.values().all(|count| *count == 1),
        "backends are told once"
    );
    assert!(
        left.values().all(|count| *count == 1),
        "members are told once"
    );
    let counted = survivors
        .iter()
        .map(|node| node.relay.counters().snapshot());
    assert_eq!(counted.map(|counted| counted.reaped_nodes).sum::<u64>(), 1);
    let members = survivors[0].relay.members(&rooms[7], 100).await.unwrap();
    let users: Vec<_> = members.users.iter().map(|member| &*member.user).collect();
    assert_eq!(users, ["u7"]);
    assert_eq!(survivors[0].relay.nodes().await.unwrap().len(), 2);
    wait_for_no_dead(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_cleared_away_though_the_clock_was_set_back() {
    let server = Server::start(&[]);
    let dead = Node::start_with(&server.url(), patient).await;
    let ann = present(&room("r"), "ann", 1);
    dead.relay.set_present(&ann).await.unwrap();
    let gone = die(dead, &server).await;
    // The clock was an hour ahead.
    let changed: u64 = server.run(&format!("ZINCRBY roomcast:leases 3600000 {gone}"));
    assert!(changed > 0);
    // Started now: to its short lease, that of a node which is held up for a moment ends late too.
    let mut witness = Node::start_with(&server.url(), |settings| {
        patient(settings);
        settings.timing.lease = Duration::from_secs(2);
    })
    .await;
    let reaped = witness.until("reaped", |event| match event {
        Event::Reaped { users, .. } => Some(users.clone()),
        _ => None,
    });
    assert_eq!(reaped.await, [Box::<str>::from("ann")]);
    assert_eq!(witness.relay.counters().snapshot().fenced, 0);
}

/// Waits until only the two live nodes have traces on the server.
async fn wait_for_no_dead(server: &Server) {
    let began = Instant::now();
    while server.run::<u64>("SCARD roomcast:dead") > 0 {
        assert!(began.elapsed() < PATIENCE, "the dead are not forgotten");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_where_another_one_died_while_it_cleared_away() {
    let server = Server::start(&[]);
    let dead = Node::start_with(&server.url(), patient).await;
    enter_thousand(&dead).await;
    let incarnation = die(dead, &server).await;
    // A third node had claimed the lease, and removed the users of one room.
    assert_eq!(
        server.run::<u64>(&format!("ZREM roomcast:leases {incarnation}")),
        1
    );
    server.run::<u64>(&format!("SADD roomcast:dead {incarnation}"));
    for user in server.run::<Vec<String>>(&format!("HKEYS roomcast:{{ns}}:n:{incarnation}:r5")) {
        server.run::<u64>(&format!("HDEL roomcast:{{ns}}:u:r5 {user}"));
    }
    server.run::<u64>(&format!("DEL roomcast:{{ns}}:n:{incarnation}:r5"));
    server.run::<u64>(&format!("SREM roomcast:rooms:{incarnation} ns}}r5"));

    let mut node = Node::start_with(&server.url(), patient).await;
    let mut told = HashMap::new();
    while told.len() < 990 {
        let event = node.until("reaped", |event| {
            matches!(event, Event::Reaped { .. }).then(|| event.clone())
        });
        note(&mut told, &event.await);
    }
    assert!(told.values().all(|count| *count == 1));
    wait_for_no_dead(&server).await;
    assert_eq!(server.run::<Vec<String>>("KEYS roomcast:{ns}:n:*").len(), 0);
    assert_eq!(server.run::<Vec<String>>("KEYS roomcast:{ns}:u:*").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_lease_is_fenced_and_registers_anew() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    node.relay
        .set_present(&present(&room, "ann", 1))
        .await
        .unwrap();
    let incarnation = node.relay.nodes().await.unwrap()[0].incarnation.clone();
    server.run::<u64>(&format!("ZREM roomcast:leases {incarnation}"));
    server.run::<u64>(&format!("SADD roomcast:dead {incarnation}"));
    let mut fenced = false;
    while !fenced {
        match node.relay.set_present(&present(&room, "bob", 1)).await {
            Err(RelayError::Fenced) => fenced = true,
            // A heartbeat was faster: it has registered the node, and counts that a moment later.
            Ok(_) => {
                let leases: Vec<String> = server.run("ZRANGE roomcast:leases 0 -1");
                assert!(!leases.is_empty(), "entered without a lease");
                let is_counted = || node.relay.counters().snapshot().fenced == 1;
                wait_for("it was not fenced", is_counted);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let again = node.until("registration", |event| match event {
        Event::Registered { incarnation } => Some(incarnation.clone()),
        _ => None,
    });
    assert_ne!(*again.await, *incarnation);
    node.relay
        .set_present(&present(&room, "ann", 2))
        .await
        .unwrap();
    node.relay
        .set_present(&present(&room, "bob", 1))
        .await
        .unwrap();
    wait_for_no_dead(&server).await;
    let members = node.relay.members(&room, 10).await.unwrap();
    let users = members.users.iter();
    let mut users: Vec<_> = users
        .map(|member| (&*member.user, member.connections))
        .collect();
    users.sort_unstable();
    assert_eq!(users, [("ann", 2), ("bob", 1)], "no ghosts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_whose_answer_is_lost_is_told() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let room = room("r");
    let mut node = Node::start_with(&proxy.url(), |settings| {
        settings.timing.response = Duration::from_secs(2);
    })
    .await;
    let ann = present(&room, "ann", 1);
    node.relay.set_present(&ann).await.unwrap();
    let incarnation = node.relay.nodes().await.unwrap()[0].incarnation.clone();
    proxy.end_behind("register");
    assert_eq!(
        server.run::<u64>(&format!("ZREM roomcast:leases {incarnation}")),
        1
    );
    node.until_lost().await;
    assert!(proxy.has_ended());
    let registered = node.until("registration", |event| match event {
        Event::Registered { incarnation } => Some(incarnation.clone()),
        _ => None,
    });
    let fresh = registered.await;
    node.until_ready().await;
    let nodes = node.relay.nodes().await.unwrap();
    assert_eq!((nodes.len(), &*nodes[0].incarnation), (1, &*fresh));
    assert_ne!(*fresh, *incarnation);
}

/// The address of the server, for [`process_of_a_node`].
const ADDRESS: &str = "ROOMCAST_RELAY_TEST_NODE";

/// A node in a process of its own, which a test can stop.
struct NodeProcess(Child);

impl NodeProcess {
    fn start(server: &Server) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "lease::process_of_a_node",
            "--ignored",
            "--nocapture",
        ]);
        command.env(ADDRESS, server.url()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(&self.0), signal).unwrap();
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process of a node that another test starts"]
async fn process_of_a_node() {
    let url = std::env::var(ADDRESS).expect("another test starts this");
    let mut node = Node::start_with(&url, short).await;
    let room = room("r");
    loop {
        for user in ["ann", "bob"] {
            // If fenced again, the next registration enters the user.
            let _ = node.relay.set_present(&present(&room, user, 1)).await;
        }
        loop {
            match node.events.next().await {
                Some(Event::Registered { .. }) => break,
                Some(_) => {}
                None => return,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_past_its_lease_leaves_no_ghosts() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut witness = Node::start_with(&server.url(), patient).await;
    witness
        .relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    let process = NodeProcess::start(&server);
    let mut changes = Vec::new();
    let expected = [
        vec![(Change::Joined, "ann"), (Change::Joined, "bob")],
        vec![(Change::Left, "ann"), (Change::Left, "bob")],
        vec![(Change::Joined, "ann"), (Change::Joined, "bob")],
    ];
    for (step, expected) in expected.iter().enumerate() {
        match step {
            1 => process.signal(Signal::STOP),
            2 => process.signal(Signal::CONT),
            _ => {}
        }
        let mut found = Vec::new();
        for _ in expected {
            let (_, change, user) = witness.until("notice", notice).await;
            found.push((change, user));
        }
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let expected = expected
            .iter()
            .map(|&(change, user)| (change, user.to_owned()));
        assert_eq!(found, expected.collect::<Vec<_>>(), "step {step}");
        changes.extend(found);
    }
    wait_for_no_dead(&server).await;
    let members = witness.relay.members(&room, 10).await.unwrap();
    let users = members.users.iter();
    let mut users: Vec<_> = users
        .map(|member| (&*member.user, member.connections))
        .collect();
    users.sort_unstable();
    assert_eq!(users, [("ann", 1), ("bob", 1)], "no ghosts");
    assert_eq!(members.notice, 6, "no storm");
    let own = server.run::<Vec<String>>("KEYS roomcast:{ns}:n:*");
    assert_eq!(own.len(), 1, "{own:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_retires_takes_its_users_along() {
    let server = Server::start(&[]);
    let room = room("r");
    let (mut stays, mut goes) = (Node::start(&server).await, Node::start(&server).await);
    stays
        .relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    goes.relay
        .set_present(&present(&room, "ann", 1))
        .await
        .unwrap();
    assert_eq!(
        stays.until("notice", notice).await,
        (1, Change::Joined, "ann".to_owned())
    );
    goes.relay.retire().await.unwrap();
    assert_eq!(
        stays.until("notice", notice).await,
        (2, Change::Left, "ann".to_owned())
    );
    while goes.events.next().await.is_some() {}
    let after = goes.relay.set_present(&present(&room, "ann", 1)).await;
    assert!(after.is_err(), "{after:?}");
    let nodes = stays.relay.nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].lease_ms > 0 && nodes[0].incarnation.starts_with(&*stays.relay.node()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_node_that_retires_may_be_back_before_its_lease_ends() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut stays = Node::start_with(&server.url(), patient).await;
    let mut goes = Node::start_with(&server.url(), patient).await;
    let rooms = std::slice::from_ref(&room);
    stays.relay.subscribe(rooms).await.unwrap();
    for user in ["ann", "bob"] {
        let entered = goes.relay.set_present(&present(&room, user, 1)).await;
        assert_eq!(entered.unwrap().change, Some(Change::Joined));
    }
    let is_of_goes = |it: &roomcast_relay::Node| it.incarnation.starts_with(&*goes.relay.node());
    let nodes = stays.relay.nodes().await.unwrap();
    let gone = nodes.into_iter().find(is_of_goes).unwrap().incarnation;
    goes.relay.retire_after(PATIENCE).await.unwrap();
    while goes.events.next().await.is_some() {}
    let nodes = stays.relay.nodes().await.unwrap();
    assert!(!nodes.iter().any(is_of_goes), "{nodes:?}");
    let back = stays.relay.set_present(&present(&room, "ann", 1)).await;
    assert_eq!(back.unwrap().change, None, "she was never away");
    // Simulates the end of the lease.
    let ended: usize = server.run(&format!("ZADD roomcast:leases XX CH 1 {gone}"));
    assert_eq!(ended, 1);
    for number in 1..=2 {
        let (seen, change, _) = stays.until("notice", notice).await;
        assert_eq!((seen, change), (number, Change::Joined));
    }
    let left = (3, Change::Left, "bob".to_owned());
    assert_eq!(stays.until("notice", notice).await, left);
}

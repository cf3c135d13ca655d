//! Redis Cluster: all data of a relay is in one slot, and the relay follows the slot to another
//! server.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use roomcast_relay::{Change, Inspector, Relay, StartError};

use crate::{
    node::{Node, room, settings},
    presence::{notice, present},
    server::{PATIENCE, Server},
};

/// Three primaries, and a replica of the one that has the slot of the relay.
struct Sharded {
    primaries: Vec<Server>,
    owner: usize,
    replica: Server,
}

impl Sharded {
    fn start() -> Self {
        let flags = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "10000",
        ];
        let primaries: Vec<_> = (0..3).map(|_| Server::start(&flags)).collect();
        let hosts = primaries.iter().map(|it| format!("127.0.0.1:{}", it.port));
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(hosts);
        let made = create.arg("--cluster-yes").output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        for server in &primaries {
            wait_cluster(server, "cluster_state", "ok");
        }
        // The others say where it has moved.
        let has_slot = |it: &Server| it.try_run::<Option<String>>("GET {roomcast}:x").is_ok();
        let owner = primaries.iter().position(has_slot).unwrap();
        let replica = Server::start(&flags);
        replica.run::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", primaries[owner].port));
        let id: String = primaries[owner].run("CLUSTER MYID");
        for server in primaries.iter().chain([&replica]) {
            wait_cluster(server, "cluster_known_nodes", "4");
            wait_cluster(server, "cluster_state", "ok");
        }
        replica.run::<()>(&format!("CLUSTER REPLICATE {id}"));
        replica.wait_info("master_link_status", |status| status == "up");
        let cluster = Self {
            primaries,
            owner,
            replica,
        };
        // A primary that does not know the replica as one of the owner does not vote for it, and
        // after an election without a majority there is no other one for four node timeouts.
        cluster.wait_view(&id);
        cluster
    }

    /// Waits until all servers know and reach the same nodes, and the replica as one of a primary;
    /// `-` for none.
    fn wait_view(&self, primary: &str) {
        let replica: String = self.replica.run("CLUSTER MYID");
        let (wanted, began) = (format!("{replica} {primary} "), Instant::now());
        loop {
            let servers = self.primaries.iter().chain([&self.replica]);
            let views: Vec<_> = servers.map(view).collect();
            let is_whole = |nodes: &[String]| {
                nodes.len() == views.len()
                    && nodes.iter().all(|node| node.ends_with(" connected"))
                    && nodes.iter().any(|node| node.starts_with(&wanted))
            };
            if is_whole(&views[0]) && views.iter().all(|nodes| *nodes == views[0]) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{wanted}: {views:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Promotes the replica, and waits until all servers know that. The request is repeated: votes
    /// may be lost.
    fn fail_over(&self) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            // Refused by a replica whose link to the primary is being made again, and by one that
            // was promoted since it was asked for its role.
            let _ = self.replica.try_run::<()>("CLUSTER FAILOVER");
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(6) {
                if self.replica.info("role") == "master" {
                    return self.wait_view("-");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let nodes: String = self.replica.run("CLUSTER NODES");
        panic!("no failover: {nodes}");
    }

    fn url(&self) -> String {
        let hosts = self.primaries.iter();
        let hosts: Vec<_> = hosts.map(|it| format!("127.0.0.1:{}", it.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

/// The nodes as a server knows them: id, primary, epoch and link of each.
fn view(server: &Server) -> Vec<String> {
    // It knows nothing while it loads data.
    let nodes: String = server.try_run("CLUSTER NODES").unwrap_or_default();
    let node = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        [0, 3, 6, 7]
            .map(|at| words.get(at).copied().unwrap_or_default())
            .join(" ")
    };
    let mut nodes: Vec<_> = nodes.lines().map(node).collect();
    nodes.sort_unstable();
    nodes
}

fn wait_cluster(server: &Server, field: &str, wanted: &str) {
    let began = Instant::now();
    let line = format!("{field}:{wanted}");
    loop {
        let info: String = server.run("CLUSTER INFO");
        if info.lines().any(|it| it.trim_end() == line) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{line}: {info}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_has_everything_and_moves_with_its_primary() {
    let cluster = Sharded::start();
    let url = cluster.url();
    let mut node = Node::start_with(&url, |_| {}).await;
    let mut other = Node::start_with(&url, |_| {}).await;
    let rooms = [room("a"), room("b")];
    for it in [&node, &other] {
        it.relay.subscribe(&rooms).await.unwrap();
    }
    let before = node.publish(&rooms[0], "one").await;
    assert_eq!(other.messages(&rooms[0], 1).await, [(1, "one".to_owned())]);
    let arrival = node.relay.set_present(&present(&rooms[1], "ann", 1)).await;
    assert_eq!(arrival.unwrap().change, Some(Change::Joined));
    let (_, change, user) = other.until("notice", notice).await;
    assert_eq!((change, &*user), (Change::Joined, "ann"));
    for (index, server) in cluster.primaries.iter().enumerate() {
        let keys: u64 = server.run("DBSIZE");
        assert_eq!(keys > 0, index == cluster.owner, "{keys} keys in {index}");
    }

    // The replica is promoted, and the old primary redirects all clients.
    cluster.fail_over();
    node.until_lost().await;
    node.until_ready().await;
    other.until_lost().await;
    other.until_ready().await;
    let after = node.publish_surely(&rooms[0], "two").await;
    assert_ne!(after.epoch, before.epoch, "the data may be older");
    assert_eq!(other.messages(&rooms[0], 1).await, [(2, "two".to_owned())]);
    let mut inspector = Inspector::connect(&settings(&url, |_| {})).await.unwrap();
    let facts = inspector.server().await.unwrap();
    assert!(
        !facts.is_replica && &*facts.version != "Redis ",
        "{facts:?}"
    );
    let (found, has_more) = inspector.all_rooms("ns", 10).await.unwrap();
    let found: Vec<_> = found.iter().map(|it| (&*it.room, it.offset)).collect();
    assert!(found.contains(&("a", 2)) && !has_more, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_without_a_tag_and_a_single_server_are_refused() {
    let server = Server::start(&[]);
    let url = format!("redis+cluster://127.0.0.1:{}", server.port);
    let error = |settings| async move {
        let started = roomcast_relay::RedisRelay::start(settings).await;
        started.map(drop).unwrap_err()
    };
    let found = error(settings(&url, |it| it.prefix = "x:".into())).await;
    assert!(matches!(found, StartError::Settings(_)), "{found}");
    assert!(found.to_string().contains("hash tag"), "{found}");
    let found = error(settings(&url, |it| it.prefix = "{x}:".into())).await;
    assert!(
        found.to_string().contains("cluster support disabled"),
        "{found}"
    );
}
